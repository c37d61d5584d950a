"""What a call takes of memory and caches, asked of a prepared contender inside its worker."""

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gemmbench.operands import Array
from gemmbench.timing import Slot, synchronize

LINE_BYTES = 64  # of a cache line, of which one element is read
PROBES = 9  # copies that are probed for coldness; their median counts
CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
RESET_PEAK = "5"  # proc(5): sets VmHWM to the current resident size


def call_bytes(run: Callable[[], object]) -> int | None:
    """Resident bytes that one call takes above what was there before; None if it can't be known.

    What a contender keeps between calls is its workspace and not in here. Freed memory is given
    back first, or a call would take it again without growing.
    """
    _give_back()
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
        before = _status("VmRSS")
        run()
        return max(0, _status("VmHWM") - before)
    except (OSError, LookupError):
        return None


def cold_ratio(entry: Slot, probes: int = PROBES) -> float | None:
    """How many times longer it takes to read the operands before a call than again at once.

    The median over `probes` calls, each on the copy whose turn it is, so that caches are as they
    are when calls are timed. None for a slot that is not cold, or whose device flushes caches.
    """
    if not entry.cold or hasattr(entry.copies[0].prepared, "clock"):
        return None
    ratios = []
    for _ in range(probes):
        copy = entry.next()
        operands = list(copy.operands.values())
        first, again = _touch(operands), _touch(operands)
        ratios.append(first / again)
        copy.prepared.run()
        synchronize(copy.prepared)
    return float(np.median(ratios))


def _touch(arrays: list[Array]) -> float:
    """Seconds to read one element of every cache line."""
    lines = [array.reshape(-1).view(np.int32)[:: LINE_BYTES // 4] for array in arrays]
    start = time.perf_counter()
    for line in lines:
        np.bitwise_or.reduce(line)
    return max(time.perf_counter() - start, 1e-9)


def _status(name: str) -> int:
    """A size of /proc/self/status in bytes. Raises LookupError where there is none."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _give_back() -> None:
    """Return the free memory of glibc's heaps to the system; other systems have no such call."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
