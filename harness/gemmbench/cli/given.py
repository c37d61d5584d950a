"""The shared options as the user gave them, in one value, and what they come to.

A command that measures takes some twenty options, most of which other commands take too: each gets
them as one argument, `given`, beside what is its own.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any

from gemmbench.cli.options import DEFAULT_DB, parse_size
from gemmbench.cli.raced import kinds_of_weights, ways_of_lowering
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.machine import Machine
    from gemmbench.run_options import RunOptions
    from gemmbench.suite import Suite
    from gemmbench.trial import RaceProtocol

LEAST_MEMORY = 2**29
MEMORY_SHARE = 0.8  # of what is available; the rest is the system's and the page cache's


@dataclass(frozen=True, slots=True)
class Given:
    """The options that several commands share. What a command lacks has the value it implies."""

    backends: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ()
    weights: str = "plain"
    only: tuple[str, ...] = ()
    batch: int | None = None
    dtype: str | None = None
    threads: int | None = None
    cache: str = "hot"
    max_error: float | None = None
    fill: str = "uniform"
    batch_lowering: str = "per-image"
    tune: str = "never"
    strategy: str = "gp"
    evaluations: int = 200
    budget: float | None = None
    processes: int = 1
    timeout: float = 60.0
    memory: str | None = None
    db: str = DEFAULT_DB
    json_to: str | None = None
    seed: int = 0
    quiet: bool = False


def gathered(command: Callable[..., int]) -> Callable[..., int]:
    """`command`, called by click with an option each, gets those of `Given` as `given`."""
    names = [field.name for field in fields(Given)]

    @wraps(command)
    def called(**values: Any) -> int:
        shared = {name: values.pop(name) for name in names if name in values}
        return command(given=Given(**shared), **values)

    return called


@dataclass(frozen=True, slots=True)
class Asked:
    """The layers, the machine, the protocol and the memory that the options come to."""

    suites: "list[Suite]"
    machine: "Machine"
    protocol: "RaceProtocol"
    memory_bytes: int


def what_is_asked(suites: tuple[str, ...], given: Given) -> Asked:
    """The options as values. Raises GemmbenchError for what cannot be done."""
    from gemmbench.doctor.environment import forced_kernels
    from gemmbench.machine import detect_machine
    from gemmbench.suite import check_raced, load_suite, select_layers
    from gemmbench.trial import RaceProtocol

    loaded = [load_suite(name, batch=given.batch, dtype=given.dtype) for name in suites]
    if given.only:
        loaded = [select_layers(suite, given.only) for suite in loaded]
    for suite in loaded:
        check_raced(suite)
    allowed = memory_allowed(given.memory)
    found = detect_machine()
    check_threads(given.threads)
    check_cold(given.cache, found)
    protocol = RaceProtocol(
        fill=given.fill,
        cache=given.cache,
        cold_bytes=cold_bytes(found) if given.cache == "cold" else 0,
        threads=given.threads or found.cores,
        processes=given.processes,
        seed=given.seed,
        max_error=given.max_error,
        forced=forced_kernels(os.environ),
    )
    return Asked(loaded, found, protocol, allowed)


def run_options(given: Given, asked: Asked) -> "RunOptions":
    """The shared options as those of a run."""
    from gemmbench.run_options import RunOptions

    return RunOptions(
        backends=given.backends,
        algorithms=given.algorithms,
        weights=kinds_of_weights(given.weights),
        lowerings=ways_of_lowering(given.batch_lowering),
        tune=given.tune,  # type: ignore[arg-type]  # click has checked the choice
        strategy=given.strategy,
        budget=given.budget,
        evaluations=given.evaluations,
        timeout=given.timeout,
        memory_bytes=asked.memory_bytes,
    )


def memory_allowed(memory: str | None) -> int:
    """Bytes that `--memory` allows, or most of what is free. Raises GemmbenchError if too few."""
    from gemmbench.machine import available_memory_bytes

    allowed = parse_size(memory) if memory else int(MEMORY_SHARE * available_memory_bytes())
    if allowed < LEAST_MEMORY:
        raise GemmbenchError(
            f"--memory: got {memory or f'{allowed} bytes free'}, a worker with its libraries "
            "needs at least 512M."
        )
    return allowed


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


def cold_bytes(machine: "Machine") -> int:
    """Memory through which calls rotate when operands are cold: twice the caches."""
    return 2 * (machine.l2_bytes + machine.l3_bytes)
