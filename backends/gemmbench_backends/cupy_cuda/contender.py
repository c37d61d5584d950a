"""A contender on the device: its arrays, the launches of a call, and the device's clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gemmbench.backend import Array, Operands
from gemmbench.errors import GemmbenchError
from gemmbench_backends.cupy_cuda.compile import source

GUARD_FLOATS = 1024  # on each side of the output: a stray tile row ends there, and is found
GUARD_VALUE = -1.5e30  # which no product of the harness's operands gives
LAUNCH_NANOSECONDS = 20_000  # that Python takes to queue a launch, with room to spare
HELD_LAUNCHES = 500  # most that are queued behind a held device: its queue takes about 1,000

DeviceArray = Any  # cupy.ndarray, which only methods may import


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a kernel. Scalars among `args` carry the type that the kernel declares."""

    function: Any
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    args: tuple[Any, ...]
    shared_bytes: int = 0  # dynamic

    def __call__(self) -> None:
        """Queue it; it runs when the device comes to it."""
        self.function(self.grid, self.block, self.args, shared_mem=self.shared_bytes)


@dataclass(frozen=True, slots=True)
class Work:
    """What a call does: (stage, step) in order, and the device memory it needs besides."""

    steps: tuple[tuple[str, Callable[[], object]], ...]
    workspace_bytes: int
    flops: int  # that it executes
    launches: int = 1  # that it queues; at least one a step is reckoned with


class DeviceClock:
    """Times what is queued between `start` and `stop` by two events of the device.

    `start` holds the device for as long as queueing `launches` may take, so that short kernels run
    back to back and are not timed at the pace of Python.
    """

    def __init__(self) -> None:
        import cupy

        self._cupy = cupy
        self._begin, self._end = cupy.cuda.Event(), cupy.cuda.Event()
        self._hold = cupy.RawModule(code=source("hold")).get_function("hold")
        self._flushed: DeviceArray = None

    def start(self, launches: int) -> None:
        """Begin: what is queued from here on counts."""
        wait = LAUNCH_NANOSECONDS * min(launches, HELD_LAUNCHES)
        self._hold((1, 1, 1), (1, 1, 1), (np.uint64(wait),), shared_mem=0)
        self._begin.record()

    def stop(self) -> float:
        """Seconds since `start`, when all of it is done."""
        self._end.record()
        self._end.synchronize()
        return float(self._cupy.cuda.get_elapsed_time(self._begin, self._end)) * 1e-3

    def flush(self) -> None:
        """Overwrite the L2 cache, with twice its size."""
        if self._flushed is None:
            size = int(self._cupy.cuda.Device().attributes["L2CacheSize"])
            self._flushed = self._cupy.empty((2 * size // 4,), "float32")
        self._flushed.fill(0)


@dataclass(slots=True)
class OnDevice:
    """Operands copied to the device, a call on them, and the way back.

    `load()` copies the operands as they are now; the copies are not part of a call.
    """

    host: Operands
    arrays: Mapping[str, DeviceArray]  # inputs on the device, and "out"
    guarded: DeviceArray  # the output between its guard bands, flat
    work: Work
    clock: DeviceClock
    _steps: Sequence[Callable[[], object]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._steps = [step for _, step in self.work.steps]

    @property
    def workspace_bytes(self) -> int:
        """Device memory beyond operands and output."""
        return self.work.workspace_bytes

    @property
    def flops(self) -> int:
        """Operations the algorithm executes."""
        return self.work.flops

    @property
    def launches(self) -> int:
        """About how many kernels a call queues."""
        return max(len(self.work.steps), self.work.launches)

    @property
    def stages(self) -> Mapping[str, Callable[[], None]]:
        """The parts of a call, each over the whole batch."""
        names = dict.fromkeys(name for name, _ in self.work.steps)
        return {name: self._stage(name) for name in names} if len(names) > 1 else {}

    def load(self) -> None:
        """Copy the operands to the device."""
        for name, array in self.arrays.items():
            if name != "out":
                array.set(self.host[name])

    def run(self) -> None:
        """Queue one call."""
        for step in self._steps:
            step()

    def synchronize(self) -> None:
        """Wait until the device has done all that was queued."""
        import cupy

        cupy.cuda.Stream.null.synchronize()

    def output(self) -> Array:
        """The answer, copied back. Raises GemmbenchError if memory around it was written."""
        whole = self.guarded.get()
        inside = whole[GUARD_FLOATS : whole.size - GUARD_FLOATS]
        bands = (whole[:GUARD_FLOATS], whole[whole.size - GUARD_FLOATS :])
        if any((band != np.asarray(GUARD_VALUE, whole.dtype)).any() for band in bands):
            raise GemmbenchError("the kernel wrote outside its output on the device.")
        return np.asarray(inside.reshape(self.host["out"].shape))

    def _stage(self, wanted: str) -> Callable[[], None]:
        def run() -> None:
            for name, step in self.work.steps:
                if name == wanted:
                    step()

        return run


def to_device(operands: Operands) -> tuple[dict[str, DeviceArray], DeviceArray]:
    """Device arrays for the operands, loaded, and "out", NaN between guard bands."""
    import cupy

    arrays = {
        name: cupy.empty(host.shape, host.dtype) for name, host in operands.items() if name != "out"
    }
    for name, array in arrays.items():
        array.set(operands[name])
    out = operands["out"]
    guarded = cupy.empty((out.size + 2 * GUARD_FLOATS,), out.dtype)
    guarded.fill(GUARD_VALUE)
    inside = guarded[GUARD_FLOATS : GUARD_FLOATS + out.size]
    inside.fill(float("nan"))
    arrays["out"] = inside.reshape(out.shape)
    return arrays, guarded
