"""What `check` and `aa` ask for alike: their options, and a check made from them."""

from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.effort import memory_option, timeout_option
from gemmbench.cli.given import Asked, Given
from gemmbench.cli.options import (
    Option,
    db_option,
    in_order,
    json_option,
    quiet_option,
    seed_option,
)
from gemmbench.cli.raced import (
    algorithms_option,
    backends_option,
    batch_option,
    dtype_option,
    kinds_of_weights,
    only_option,
    threads_option,
    weights_option,
)

if TYPE_CHECKING:
    from gemmbench.check_outcome import CheckOptions
    from gemmbench.gate import Thresholds


class Effect(click.ParamType[float]):
    """A share such as 1% or 0.01, below 100 %."""

    name = "effect"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """`value` as a fraction."""
        from gemmbench.format_leaves import EFFECT_FORM, parse_effect

        if isinstance(value, float):
            return value
        effect = parse_effect(str(value))
        if effect is None:
            self.fail(f"got {value!r}, expected {EFFECT_FORM}.", param, ctx)
        return effect


def share_option(name: str, default: str, meaning: str) -> Option:
    """A share of the time; a layer's own value goes first."""
    return click.option(
        name,
        type=Effect(),
        default=default,
        show_default=True,
        metavar="SHARE",
        help=f"{meaning}; a layer's own value goes first.",
    )


checking_options = in_order(
    backends_option("to compare: numba, blas, ./my_kernel.py:MyGemm"),
    algorithms_option("to compare"),
    weights_option(),
    only_option(" to compare"),
    batch_option(),
    dtype_option,
    threads_option,
    share_option("--min-effect", "1%", "A smaller difference is never a regression"),
    share_option("--max-regression", "5%", "What must be ruled out for OK"),
    timeout_option("A side that takes longer over one request"),
    memory_option,
    db_option,
    json_option,
    seed_option,
    quiet_option,
)


def check_options(given: Given, asked: Asked, thresholds: "Thresholds") -> "CheckOptions":
    """The shared options as those of a check within its budget."""
    from gemmbench.check_outcome import CheckOptions
    from gemmbench.ways import Wanted

    return CheckOptions(
        wanted=Wanted(given.algorithms, kinds_of_weights(given.weights)),
        thresholds=thresholds,
        time_budget=given.budget,
        timeout=given.timeout,
        memory_bytes=asked.memory_bytes,
    )
