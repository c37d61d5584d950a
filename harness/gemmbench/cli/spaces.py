"""The spaces that `gemmbench tune` would search: for `--dry-run`, and to check `--plot-axes`."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gemmbench.cli.formats import print_formatted
from gemmbench.cli.given import Asked
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.offers import Described
    from gemmbench.run_options import RunOptions
    from gemmbench.space import SearchSpace
    from gemmbench_results.report.render import TableFormat, TextFormat


def checked_axes(
    given: str, plot: Path | None, asked: Asked, options: "RunOptions"
) -> tuple[str, str]:
    """The two axes of the heat maps. Raises GemmbenchError unless some space has both."""
    from gemmbench.errors import did_you_mean

    if plot is None:
        raise GemmbenchError("--plot-axes: says what to draw, so it needs --plot FILE.html.")
    names = tuple(name.strip() for name in given.split(","))
    if len(names) != 2 or names[0] == names[1]:
        raise GemmbenchError(f"--plot-axes: got {given!r}, expected two axes such as mr,kc.")
    spaces = [space for _, space in offered_spaces(asked, options)]
    known = list(dict.fromkeys(axis.name for space in spaces for axis in space.axes))
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise GemmbenchError(f"--plot-axes: no space here has an axis {name!r}.{hint}")
    return names[0], names[1]


def print_spaces(asked: Asked, options: "RunOptions", format_: "TableFormat") -> int:
    """Print what there is to search, and why combinations are left out; always 0.

    Raises GemmbenchError for all that the search would refuse.
    """
    from gemmbench.run import check_run
    from gemmbench.run_options import check_names

    check_names(asked.suites)
    layers = [(suite, layer) for suite in asked.suites for layer in suite.layers]
    described = check_run(layers, options, asked.protocol, asked.machine)
    found = list(offered_spaces(asked, options, described))
    rows = [space_data(name, space) for name, space in found]
    print_formatted(
        format_,
        lambda style: (
            "\n\n".join(f"{name}: {space_text(space, style)}" for name, space in found)
            or "Nothing to tune: no search space for any of these layers."
        ),
        lambda: {"schema": 1, "spaces": rows},
        lambda: rows,
    )
    return 0


def space_data(name: str, space: "SearchSpace") -> dict[str, object]:
    """A space as JSON-able data, without its configs."""
    return {
        "space": name,
        "size": space.size(),
        "combinations": space.combinations(),
        "axes": [{"name": a.name, "kind": a.kind, "values": list(a.values)} for a in space.axes],
        "rejections": [{"rule": rule, "count": n} for rule, n in space.rejections().items()],
    }


def offered_spaces(
    asked: Asked, options: "RunOptions", described: "Described | None" = None
) -> "Iterator[tuple[str, SearchSpace]]":
    """Each space that would be searched, with the layer's and the contender's names.

    Says on stderr, as a search does in its table, why a backend takes no part that broke or was
    asked for by name. `described` is what some have said already.
    """
    from gemmbench.offers import NoOfferError, Offers
    from gemmbench.race import Limits
    from gemmbench.trial import TrialState

    limits = Limits(0, options.timeout, options.memory_bytes)
    offers = Offers(options, asked.protocol, asked.machine, described or {})
    layers = [(suite.name, layer) for suite in asked.suites for layer in suite.layers]
    for (suite, layer), spec in product(layers, options.specs()):
        try:
            offered = offers.of(spec, layer.problem, limits).offers
        except NoOfferError as error:
            if spec in options.backends or error.state is TrialState.FAILED:
                click.echo(f"{suite} {layer.name}: {spec}: {error}", err=True)
            continue
        for offer in offered:
            one = offer.contender
            if offer.space is not None:
                yield f"{suite} {layer.name}: {spec} {one.algorithm} {one.weights}", offer.space


def space_text(space: "SearchSpace", style: "TextFormat" = "table") -> str:
    """Its sizes, its axes, and how many combinations each constraint rejects."""
    from tabulate import tabulate

    from gemmbench_results.report.render import table_text

    lines = [[axis.name, axis.kind, " ".join(map(str, axis.values))] for axis in space.axes]
    lines += [["rejected", str(n), f"by {rule}"] for rule, n in space.rejections().items()]
    sizes = f"{space.size()} of {space.combinations()} combinations are valid"
    if style == "markdown":
        columns = dict.fromkeys(("axis", "kind", "values"), "left")
        return f"{sizes}\n\n{table_text(columns, lines, style)}"
    return f"{sizes}\n{tabulate(lines, tablefmt='plain', disable_numparse=True)}"
