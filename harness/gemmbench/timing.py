"""Timing inside a worker: a prepared contender and its copies, blocks of calls, a call's stages."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gemmbench.backend import DeviceClock, Prepared
from gemmbench.errors import GemmbenchError
from gemmbench.operands import Array, GuardedOutput


@dataclass(slots=True)
class Copy:
    """One set of operand buffers with its output, and the contender prepared on them."""

    operands: dict[str, Array]
    out: GuardedOutput
    prepared: Prepared
    own_output: bool = False  # it answers in an array of its own, not in `out`

    def fetch(self) -> Array:
        """The answer of the last run: `out` where that was written, else what `output()` gives."""
        return np.asarray(self.prepared.output()) if self.own_output else self.out.array


@dataclass(slots=True)
class Slot:
    """A prepared contender. Cold mode rotates calls through several copies; hot has one."""

    algorithm: str
    copies: list[Copy]
    turn: int = 0
    cold: bool = False

    def next(self) -> Copy:
        """The copy whose turn it is."""
        self.turn = (self.turn + 1) % len(self.copies)
        return self.copies[self.turn]


def _time_on_device(entry: Slot, loops: int, clock: DeviceClock) -> float:
    """Seconds for `loops` calls by the device's own clock, which host time bounds from above.

    Cold, the caches are flushed before each call and only the calls are timed.
    """
    prepared = entry.next().prepared
    launches = getattr(prepared, "launches", 1)
    began = time.perf_counter()
    if entry.cold:
        seconds = sum(_flushed_call(prepared, clock, launches) for _ in range(loops))
    else:
        clock.start(loops * launches)
        for _ in range(loops):
            prepared.run()
        seconds = clock.stop()
    if not 0 < seconds <= time.perf_counter() - began:
        raise GemmbenchError(
            f"the device's clock says {seconds:.3g} s, longer than it took or nothing at all."
        )
    return seconds


def _flushed_call(prepared: Prepared, clock: DeviceClock, launches: int) -> float:
    clock.flush()
    clock.start(launches)
    prepared.run()
    return clock.stop()


def time_block(entry: Slot, loops: int) -> float:
    """Seconds for `loops` calls, with nothing but the calls between the two readings.

    A contender that answers in memory of its own has its `output()` timed too, or it could do the
    work there; a device's copy back (it has `synchronize`) is not part of the call.
    """
    clock: DeviceClock | None = getattr(entry.copies[0].prepared, "clock", None)
    if clock is not None:
        return _time_on_device(entry, loops, clock)
    calls = []
    for _ in range(loops):
        copy = entry.next()
        fetches = copy.own_output and not hasattr(copy.prepared, "synchronize")
        calls.append(_fetched(copy) if fetches else copy.prepared.run)
    start = time.perf_counter_ns()
    for call in calls:
        call()
    synchronize(copy.prepared)
    return (time.perf_counter_ns() - start) * 1e-9


def _fetched(copy: Copy) -> Callable[[], object]:
    def call() -> object:
        copy.prepared.run()
        return copy.prepared.output()

    return call


def time_stages(entry: Slot, repeats: int) -> tuple[dict[str, float], float | None]:
    """Median seconds of each stage of one call, and of whole calls taken in turn with them.

    A cold slot takes the next copy for each, as calls do: a stage that reads operands finds them
    cold, what an earlier stage has just written is where a call would find it. ({}, None) for a
    contender whose call has no stages.
    """
    if not _stages(entry.copies[0].prepared):
        return {}, None
    whole: list[float] = []
    seconds: dict[str, list[float]] = {}
    for _ in range(repeats):
        prepared = entry.next().prepared
        whole.append(_seconds_of(prepared, prepared.run))
        prepared = entry.next().prepared
        for name, stage in _stages(prepared).items():
            seconds.setdefault(name, []).append(_seconds_of(prepared, stage))
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    return medians, float(np.median(whole))


def _stages(prepared: Prepared) -> Mapping[str, Callable[[], object]]:
    found: Mapping[str, Callable[[], object]] = getattr(prepared, "stages", {})
    return found


def _seconds_of(prepared: Prepared, call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    synchronize(prepared)
    return time.perf_counter() - start


def load(prepared: Prepared) -> None:
    """Bring operands that changed to where the contender reads them."""
    bring = getattr(prepared, "load", None)
    if bring is not None:
        bring()


def synchronize(prepared: Prepared) -> None:
    """Wait for a device; nothing where there is none."""
    wait = getattr(prepared, "synchronize", None)
    if wait is not None:
        wait()
