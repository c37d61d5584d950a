"""Runs every thread's share of a C function (argument, thread), and waits for all.

OpenMP is preferred (an empty parallel loop costs 2 µs); Numba's own workqueue is the fallback.
Its TBB layer ran both halves on one thread when it was tried.
"""

# Numba's configuration is attributes that it makes at import.
# mypy: disable-error-code="attr-defined"

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)


def runner(entry: Any, argument: int, threads: int, phases: int = 1) -> Callable[[], None]:
    """A call that runs `entry`, one of the driver's, for every thread; `argument` is an address.

    With `phases`, all threads do one before any begins the next; thread t of phase i is told
    i · threads + t.
    """
    function = int(entry.address)
    if threads == 1 and phases == 1:
        alone = _FUNCTION(function)
        return lambda: alone(argument, 0)
    fork, use_threads, most = _parallel_loop()
    used = min(threads, most)

    def run() -> None:
        use_threads(used)  # a pool is as large as the machine: wake no more than there are shares
        fork(function, argument, threads, phases)

    return run


def start_pool() -> None:
    """Start the threads here, by the layer that is preferred, rather than in a timed call."""
    _parallel_loop()


@cache
def _parallel_loop() -> tuple[Any, Any, int]:
    """Numba's parallel loop, how to say how many threads it wakes, and how many there are."""
    from numba import config, get_num_threads, set_num_threads

    if config.THREADING_LAYER == "default":
        config.THREADING_LAYER = "omp" if _has_openmp() else "workqueue"
    from gemmbench_backends.numba_cpu.fork import fork

    most = get_num_threads()  # starts the pool here rather than in the first timed call
    return fork, set_num_threads, int(most)


def _has_openmp() -> bool:
    try:
        from numba.np.ufunc import omppool  # noqa: F401  (importing is the question)
    except ImportError:
        return False
    return True
