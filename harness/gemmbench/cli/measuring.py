"""What every command that measures asks for alike: its options, and what they come to."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.options import (
    Command,
    Seconds,
    db_option,
    json_option,
    max_error_option,
    parse_size,
    quiet_option,
    seed_option,
    threads_option,
)
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.machine import Machine
    from gemmbench.suite import Suite
    from gemmbench.trial import RaceProtocol

LEAST_MEMORY = 2**29
MEMORY_SHARE = 0.8  # of what is available; the rest is the system's and the page cache's


def kinds_of_weights(asked: str) -> tuple[str, ...]:
    """What `--weights` asks for: 'plain', 'prepared', or both of them."""
    return ("plain", "prepared") if asked == "both" else (asked,)


def strategy_option(command: Command) -> Command:
    """`command` with `--strategy`: how configs are chosen."""
    option = click.option(
        "--strategy",
        metavar="NAME",
        default="gp",
        show_default=True,
        help="How a search chooses configs: gp, random, genetic, exhaustive.",
    )
    return option(command)


OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--backend",
        "backends",
        multiple=True,
        metavar="SPEC",
        help="Backend to race: numba, blas, ./my_kernel.py:MyGemm. Repeatable. [default: all]",
    ),
    click.option(
        "--algorithm",
        "algorithms",
        multiple=True,
        metavar="NAME",
        help="Algorithm to race: gemm, im2col, implicit-gemm, fft. Repeatable. [default: all]",
    ),
    click.option(
        "--weights",
        type=click.Choice(["plain", "prepared", "both"]),
        default="plain",
        show_default=True,
        help="Weights as they come, or packed and transformed ahead; never ranked together.",
    ),
    click.option("--only", metavar="GLOB", help="Layers to run, such as 'conv*'. [default: all]"),
    click.option(
        "--batch",
        type=click.IntRange(min=1),
        help="Batch of conv and linear layers. [default: the suite's]",
    ),
    click.option("--dtype", metavar="NAME", help="float32 or float64. [default: the suite's]"),
    threads_option,
    click.option(
        "--cache",
        type=click.Choice(["hot", "cold"]),
        default="hot",
        show_default=True,
        help="Operands where the last call left them, or rotated through more memory "
        "than the caches.",
    ),
    max_error_option,
    click.option(
        "--fill",
        type=click.Choice(["uniform", "integers", "zeros", "denormal"]),
        default="uniform",
        show_default=True,
        help="Values of the operands that are timed.",
    ),
    click.option(
        "--evaluations",
        type=click.IntRange(min=1),
        default=200,
        show_default=True,
        help="Most configs one search measures.",
    ),
    click.option(
        "--processes",
        type=click.IntRange(min=1),
        default=3,
        show_default=True,
        help="Fresh processes in which the leading contenders are measured.",
    ),
    click.option(
        "--timeout",
        type=Seconds(),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="A contender that takes longer over one request counts as hung.",
    ),
    click.option(
        "--memory", metavar="SIZE", help="Most memory, such as 4G. [default: 80% of what is free]"
    ),
    db_option,
    json_option,
    seed_option,
    quiet_option,
    strategy_option,
)


def measuring_options(command: Command) -> Command:
    """`command` with all of `OPTIONS`, in their order in its help."""
    decorated: Command = reduce(lambda inner, option: option(inner), reversed(OPTIONS), command)
    return decorated


@dataclass(frozen=True, slots=True)
class Asked:
    """The layers, the machine, the protocol and the memory that the options come to."""

    suites: "list[Suite]"
    machine: "Machine"
    protocol: "RaceProtocol"
    memory_bytes: int


def what_is_asked(
    suites: tuple[str, ...],
    *,
    only: str | None,
    batch: int | None,
    dtype: str | None,
    threads: int | None,
    cache: str,
    fill: str,
    processes: int,
    memory: str | None,
    seed: int,
    max_error: float | None = None,
) -> Asked:
    """The options of these names as values. Raises GemmbenchError for what cannot be done."""
    from gemmbench.doctor.environment import forced_kernels
    from gemmbench.machine import available_memory_bytes, detect_machine
    from gemmbench.suite import check_raced, load_suite, select_layers
    from gemmbench.trial import RaceProtocol

    loaded = [load_suite(name, batch=batch, dtype=dtype) for name in suites]
    if only is not None:
        loaded = [select_layers(suite, only) for suite in loaded]
    for suite in loaded:
        check_raced(suite)
    allowed = parse_size(memory) if memory else int(MEMORY_SHARE * available_memory_bytes())
    if allowed < LEAST_MEMORY:
        raise GemmbenchError(
            f"--memory: got {memory or f'{allowed} bytes free'}, a worker with its libraries "
            "needs at least 512M."
        )
    found = detect_machine()
    check_threads(threads)
    check_cold(cache, found)
    protocol = RaceProtocol(
        fill=fill,
        cache=cache,
        cold_bytes=2 * (found.l2_bytes + found.l3_bytes) if cache == "cold" else 0,
        threads=threads or found.cores,
        processes=processes,
        seed=seed,
        max_error=max_error,
        forced=forced_kernels(os.environ),
    )
    return Asked(loaded, found, protocol, allowed)


def check_threads(threads: int | None) -> None:
    """Raise GemmbenchError for more threads than there are CPUs to run them."""
    logical = os.cpu_count() or 1
    if threads is not None and threads > logical:
        raise GemmbenchError(f"--threads: got {threads}, this machine has {logical} CPUs.")


def check_cold(cache: str, machine: "Machine") -> None:
    """Raise GemmbenchError if cold is asked for where the size of no cache is known."""
    if cache == "cold" and not machine.l2_bytes + machine.l3_bytes:
        raise GemmbenchError(
            "--cache: cold needs the cache sizes, and this machine does not tell them. Use hot."
        )
