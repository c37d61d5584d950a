"""What `check` and `aa` ask for alike: their options, and a check made from them."""

from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.options import (
    Command,
    Seconds,
    db_option,
    json_option,
    quiet_option,
    seed_option,
    threads_option,
)

if TYPE_CHECKING:
    from gemmbench.cli.measuring import Asked


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


OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--backend",
        "backends",
        multiple=True,
        metavar="SPEC",
        help="Backend to compare: numba, blas, ./my_kernel.py:MyGemm. Repeatable.",
    ),
    click.option(
        "--algorithm",
        "algorithms",
        multiple=True,
        metavar="NAME",
        help="Algorithm to compare: gemm, im2col, implicit-gemm, fft. Repeatable. [default: all]",
    ),
    click.option(
        "--weights",
        type=click.Choice(["plain", "prepared", "both"]),
        default="plain",
        show_default=True,
        help="Weights as they come, or packed and transformed ahead.",
    ),
    click.option("--only", metavar="GLOB", help="Layers to compare, such as 'conv*'."),
    click.option(
        "--batch",
        type=click.IntRange(min=1),
        help="Batch of conv and linear layers. [default: the suite's]",
    ),
    click.option("--dtype", metavar="NAME", help="float32 or float64. [default: the suite's]"),
    threads_option,
    click.option(
        "--min-effect",
        type=Effect(),
        default="1%",
        show_default=True,
        metavar="SHARE",
        help="A smaller difference is never a regression; a layer's own value goes first.",
    ),
    click.option(
        "--max-regression",
        type=Effect(),
        default="5%",
        show_default=True,
        metavar="SHARE",
        help="What must be ruled out for OK; a layer's own value goes first.",
    ),
    click.option(
        "--timeout",
        type=Seconds(),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="A side that takes longer over one request counts as hung.",
    ),
    click.option(
        "--memory", metavar="SIZE", help="Most memory, such as 4G. [default: 80% of what is free]"
    ),
    db_option,
    json_option,
    seed_option,
    quiet_option,
)


def checking_options(command: Command) -> Command:
    """`command` with all of `OPTIONS`, in their order in its help."""
    decorated: Command = reduce(lambda inner, option: option(inner), reversed(OPTIONS), command)
    return decorated


def layers_asked(
    suites: tuple[str, ...],
    *,
    only: str | None,
    batch: int | None,
    dtype: str | None,
    threads: int | None,
    memory: str | None,
    seed: int,
) -> "Asked":
    """The layers, the machine, the protocol and the memory that the options come to."""
    from gemmbench.cli.measuring import what_is_asked

    return what_is_asked(
        suites,
        only=only,
        batch=batch,
        dtype=dtype,
        threads=threads,
        cache="hot",
        fill="uniform",
        processes=1,
        memory=memory,
        seed=seed,
    )
