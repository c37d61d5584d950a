"""The machine's roof: the most FLOP/s and bytes/s that plain loops reach, raced like a contender.

The loops (`peak_loops.py`) satisfy the Backend contract, so a roof runs in a worker of its own and
is timed in turn with the contenders.
"""

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from gemmbench.backend import Location, Operands
from gemmbench.link import Link, case_data, location_data
from gemmbench.machine import Machine, detect_machine, machine_to_data
from gemmbench.operands import Array
from gemmbench.peak_loops import READ_ACCUMULATORS, Compiled, fma_ir, read_ir
from gemmbench.problem import Gemm, Problem
from gemmbench.reference import Case
from gemmbench.space import Config, SearchSpace

RUN_SECONDS = 0.003  # one run of the FMA loop: long against waking a thread, short against a round
TIMEOUT_SECONDS = 60.0
LANE_TYPES = {"float32": "float", "float64": "double"}
SMALLEST_STREAM = 2**26  # bytes: larger than any private cache
LARGEST_STREAM = 2**29

NO_CASE = Case("none", {}, "", None)
PLAIN = {"algorithm": "gemm", "weights": "plain"}


class FmaRoof:
    """Independent fused multiply-adds in registers: the FLOP/s no kernel can exceed."""

    name = "roof"

    def unavailable(self) -> str | None:
        """Never: LLVM compiles it for whatever CPU this is."""
        return None

    def supports(self, problem: Problem) -> str | None:
        """Every problem: only its dtype matters."""
        return None

    def search_space(
        self, problem: Problem, machine: Machine, choice: Config
    ) -> SearchSpace | None:
        """None: there is nothing to tune."""
        return None

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Any:
        """The loop on `config["threads"]` threads, calibrated to a few milliseconds.

        With `config["read_bytes"]` the loop that reads so many bytes, in the same process.
        """
        machine, threads = detect_machine(), int(config["threads"])
        if "read_bytes" in config:
            return ReadRun(machine, threads, int(config["read_bytes"]))
        return FmaRun(problem.dtype, machine, threads)


class FmaRun:
    """The FMA loop, ready to run; `flops` are the operations of one run."""

    def __init__(self, dtype: str, machine: Machine, threads: int) -> None:
        lanes = machine.vector_bytes() // np.dtype(dtype).itemsize
        accumulators = 12 if machine.vector_bytes() == 32 else 16  # AVX2 has 16 registers, not 32
        self._loop = Compiled(fma_ir(LANE_TYPES[dtype], lanes, accumulators), (ctypes.c_int64,))
        self._team = Team(threads)
        self._iterations = self._calibrate()
        self.flops = 2 * lanes * accumulators * self._iterations * threads

    def run(self) -> None:
        """All threads run the loop once."""
        self._team.run([lambda: self._loop.call(self._iterations)] * self._team.size)

    def output(self) -> Array:
        """Nothing to verify: an empty array."""
        return np.empty(0)

    def _calibrate(self) -> int:
        iterations = 1000
        while True:
            start = time.perf_counter()
            self._loop.call(iterations)
            seconds = time.perf_counter() - start
            if seconds > RUN_SECONDS / 4:
                return int(iterations * RUN_SECONDS / seconds)
            iterations *= 4


class StreamRoof(FmaRoof):
    """Reading, or copying, far more memory than the caches hold: bytes/s to and from DRAM."""

    def __init__(self, option: str = "read") -> None:
        self._copies = option == "copy"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Any:
        """The stream over `stream_bytes` on `config["threads"]` threads."""
        machine, threads = detect_machine(), int(config["threads"])
        if self._copies:
            return CopyRun(machine, threads)
        return ReadRun(machine, threads, stream_bytes(machine))


class ReadRun:
    """Sums an array of about `nbytes` with full vectors, each thread a share of its own.

    One that fits a cache is read from there, again and again for some milliseconds. `flops` are
    the bytes of one run (the roof's own unit).
    """

    def __init__(self, machine: Machine, threads: int, nbytes: int) -> None:
        lanes = machine.vector_bytes() // 4
        arguments = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        self._sum = Compiled(read_ir(lanes), arguments)
        self._team = Team(threads)
        step = READ_ACCUMULATORS * lanes
        self._blocks = max(1, nbytes // (4 * step * threads))
        self._data = np.ones(self._blocks * step * threads, dtype=np.float32)
        self._parts = np.split(self._data, threads)
        self._passes = self._calibrate()
        self.flops = self._data.nbytes * self._passes

    def run(self) -> None:
        """Each thread reads its share of the array, all passes of it."""
        self._team.run([self._reader(part) for part in self._parts])

    def output(self) -> Array:
        """Nothing to verify: an empty array."""
        return np.empty(0)

    def _reader(self, part: Array) -> Callable[[], object]:
        return lambda: self._sum.call(part.ctypes.data, self._blocks, self._passes)

    def _calibrate(self) -> int:
        """Passes that fill a run; one at least."""
        self._passes = 1
        while True:
            start = time.perf_counter()
            self.run()
            seconds = time.perf_counter() - start
            if seconds > RUN_SECONDS / 4:
                return max(1, int(self._passes * RUN_SECONDS / seconds))
            self._passes *= 4


class CopyRun:
    """Copies one array to another; `flops` are the bytes read plus the bytes written."""

    def __init__(self, machine: Machine, threads: int) -> None:
        self._team = Team(threads)
        elements = stream_bytes(machine) // (8 * threads) * threads
        source = np.ones(elements, dtype=np.float32)
        target = np.zeros_like(source)
        self._pairs = list(zip(np.split(source, threads), np.split(target, threads), strict=True))
        self.flops = 2 * source.nbytes

    def run(self) -> None:
        """Each thread copies its share once."""
        self._team.run([self._copier(a, b) for a, b in self._pairs])

    def output(self) -> Array:
        """Nothing to verify: an empty array."""
        return np.empty(0)

    @staticmethod
    def _copier(source: Array, target: Array) -> Callable[[], object]:
        return lambda: np.copyto(target, source)


class Team:
    """`size` threads that run one callable each; the caller's own thread is one of them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._pool = ThreadPoolExecutor(max(size - 1, 1))

    def run(self, work: list[Callable[[], object]]) -> None:
        """Returns when every callable has; they must release the GIL to run side by side."""
        waiting = [self._pool.submit(item) for item in work[1:]]
        work[0]()
        for item in waiting:
            item.result()


@dataclass(frozen=True, slots=True)
class Roof:
    """A roof in its worker, timed a block at a time beside the contenders."""

    link: Link
    work: int  # FLOPs or bytes of one run
    slot: int = 0
    threads: int = 1

    @classmethod
    def start(cls, kind: str, dtype: str, machine: Machine, threads: int) -> Self:
        """The roof `kind` ("flops", "read" or "copy"), calibrated and ready."""
        location = (
            Location(__name__, "FmaRoof")
            if kind == "flops"
            else Location(__name__, "StreamRoof", kind)
        )
        link = Link(location, Gemm(1, 1, 1, dtype), threads=threads, timeout=TIMEOUT_SECONDS)
        link.ask(
            "describe",
            location=location_data(location),
            machine=machine_to_data(machine),
            threads=threads,
            offers=False,
        )
        config = {**PLAIN, "threads": threads}
        prepared = link.ask("prepare", slot=0, config=config, case=case_data(NO_CASE))
        return cls(link, int(prepared["flops"]), 0, threads)

    def reading(self, nbytes: int) -> Self:
        """The bandwidth of reading `nbytes`, in the same worker; it replaces the one before."""
        config = {**PLAIN, "threads": self.threads, "read_bytes": nbytes}
        prepared = self.link.ask("prepare", slot=1, config=config, case=case_data(NO_CASE))
        return replace(self, work=int(prepared["flops"]), slot=1)

    def per_second(self, loops: int = 1) -> float:
        """FLOP/s or bytes/s of one timed block."""
        reply = self.link.ask(
            "time", slot=self.slot, case=case_data(NO_CASE), loops=loops, warmup=1
        )
        return self.work * loops / float(reply["seconds"])

    def close(self) -> None:
        """End its worker."""
        self.link.close()


def measure_roof(kind: str, dtype: str, machine: Machine, threads: int, blocks: int = 15) -> float:
    """Median FLOP/s or bytes/s of `blocks` timed blocks."""
    roof = Roof.start(kind, dtype, machine, threads)
    try:
        return float(np.median([roof.per_second() for _ in range(blocks)]))
    finally:
        roof.close()


def stream_bytes(machine: Machine) -> int:
    """Bytes that a stream passes over: four last-level caches, between 64 and 512 MiB."""
    return min(LARGEST_STREAM, max(SMALLEST_STREAM, 4 * machine.l3_bytes))
