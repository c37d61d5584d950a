"""Options that say what is raced: which contenders, on which layers, under which conditions.

Several commands share each; its text differs only where its meaning does.
"""

import click

from gemmbench.algorithm import ALGORITHMS
from gemmbench.cli.options import Option, Positive
from gemmbench.problem import ITEMSIZE

CACHE_STATES = ("hot", "cold")
FILLS = ("uniform", "integers", "zeros", "denormal")
KINDS_OF_WEIGHTS = ("plain", "prepared")
LOWERINGS = ("per-image", "whole")
BOTH = "both"  # of two: weights or lowerings


def backends_option(purpose: str, default: str = "") -> Option:
    """`--backend`, repeatable, passed as `backends`. `purpose` completes 'Backend …'."""
    return click.option(
        "--backend",
        "backends",
        multiple=True,
        metavar="SPEC",
        help=f"Backend {purpose}. Repeatable.{_default(default)}",
    )


def algorithms_option(purpose: str) -> Option:
    """`--algorithm`, repeatable, passed as `algorithms`. `purpose` completes 'Algorithm …'."""
    return click.option(
        "--algorithm",
        "algorithms",
        multiple=True,
        metavar="NAME",
        help=f"Algorithm {purpose}: {', '.join(ALGORITHMS)}. Repeatable. [default: all]",
    )


def weights_option(*, ranked: bool = False, default: str = "plain", both: bool = True) -> Option:
    """`--weights`: of one kind, or `both`. `ranked`: they would be ranked, but never together."""
    apart = "; never ranked together" if ranked else ""
    return click.option(
        "--weights",
        type=click.Choice([*KINDS_OF_WEIGHTS, *([BOTH] if both else [])]),
        default=default,
        show_default=True,
        help=f"Weights as they come, or packed and transformed ahead{apart}.",
    )


def only_option(purpose: str = "") -> Option:
    """`--only`. `purpose` completes 'Layers …'."""
    return click.option(
        "--only",
        metavar="GLOB",
        multiple=True,
        help=f"Layers{purpose}, such as 'conv*'. Repeatable. [default: all]",
    )


def batch_option(of_what: str = "Batch of conv and linear layers") -> Option:
    """`--batch`; None is the suite's own."""
    return click.option(
        "--batch", type=click.IntRange(min=1), help=f"{of_what}. [default: the suite's]"
    )


dtype_option: Option = click.option(
    "--dtype", type=click.Choice(list(ITEMSIZE)), help="Of the elements. [default: the suite's]"
)

threads_option: Option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads a contender may use. [default: the physical cores]",
)

max_error_option: Option = click.option(
    "--max-error",
    type=Positive("error"),
    metavar="X",
    help="Largest error, over the rms of the answer, with which an algorithm may win. "
    "[default: any that is right]",
)

fill_option: Option = click.option(
    "--fill",
    type=click.Choice(FILLS),
    default="uniform",
    show_default=True,
    help="Values of the operands that are timed.",
)

batch_lowering_option: Option = click.option(
    "--batch-lowering",
    type=click.Choice([*LOWERINGS, BOTH]),
    default="per-image",
    show_default=True,
    help="Of im2col: a GEMM for each image, or one for the whole batch, or both in one race.",
)


def cache_option(text: str) -> Option:
    """`--cache`. `text` says what is hot and what is cold."""
    return click.option(
        "--cache",
        type=click.Choice(CACHE_STATES),
        default="hot",
        show_default=True,
        help=text,
    )


def kinds_of_weights(asked: str) -> tuple[str, ...]:
    """What `--weights` asks for: 'plain', 'prepared', or both of them."""
    return KINDS_OF_WEIGHTS if asked == BOTH else (asked,)


def ways_of_lowering(asked: str) -> tuple[str, ...]:
    """What `--batch-lowering` asks for: 'per-image', 'whole', or both of them."""
    return LOWERINGS if asked == BOTH else (asked,)


def _default(text: str) -> str:
    return f" [default: {text}]" if text else ""
