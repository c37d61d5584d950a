"""A kernel's portfolio in words: the configs to carry, which layers each serves, who is left."""

from collections.abc import Sequence
from math import inf

from gemmbench.problem import Problem
from gemmbench.suite import Layer
from gemmbench.tune.portfolio import Portfolio

SHARE = "To measure them: gemmbench tune SUITE --portfolio."


def portfolio_lines(
    label: str, found: Portfolio | None, searched: Sequence[Problem], layers: Sequence[Layer]
) -> list[str]:
    """Lines about the kernel `label`, whose portfolio was chosen for the problems `searched`."""
    if found is None:
        return [f"{label}: was not searched since its kernel changed. Run 'gemmbench tune'."]
    names = {problem: [la.name for la in layers if la.problem == problem] for problem in searched}
    how = dict(zip(searched, zip(found.serves, found.slowdowns, strict=True), strict=True))
    served = sum(len(names[problem]) for problem, (_, slowdown) in how.items() if slowdown < inf)
    lines = [
        f"{label}: {len(found.configs)} of its configs serve {served} layers at "
        f"{found.mean_slowdown():.2f} times their own best in the geometric mean"
    ]
    for at, config in enumerate(found.configs):
        cells = [
            f"{name} ({slowdown:.2f})"
            for problem, (by, slowdown) in how.items()
            if by == at and slowdown < inf
            for name in names[problem]
        ]
        shown = " ".join(f"{name}={value}" for name, value in config.items())
        lines.append(f"  {shown}: {', '.join(cells) or 'none'}")
    apart = [name for p, (_, slowdown) in how.items() if slowdown == inf for name in names[p]]
    if apart:
        lines.append(f"  measured with none of these: {', '.join(apart)}. {SHARE}")
    missed = [layer.name for layer in layers if layer.problem not in how]
    if missed:
        lines.append(f"  not searched: {', '.join(missed)}. Run 'gemmbench tune' with them.")
    return lines
