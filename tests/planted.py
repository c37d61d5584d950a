"""Backends with one planted defect each, named as "tests/planted.py:ClassName" in end-to-end tests.

They are complete and compute with plain NumPy, so that whatever a race says about one of them is
said about its defect.
"""

import contextlib
import ctypes
import os
import sys
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np

from gemmbench.backend import Array, Operands, Prepared
from gemmbench.machine import Machine
from gemmbench.problem import Gemm, Problem
from gemmbench.space import Axis, Config, Constraint, SearchSpace

LINES = 10_000  # printed by Prints: far more than a pipe's 64 KiB holds
TERABYTE = 2**40
REPEATS = 100  # times that Slow does its work
WRONG_TILE, ABORTING_TILE, HANGING_TILE, SLOW_TILE = 64, 128, 256, 512  # of SearchesTiles


@dataclass(slots=True)
class Contender:
    """A prepared contender that calls `compute` and answers with `out`."""

    compute: Callable[[], object]
    out: Array

    def run(self) -> None:
        self.compute()

    def output(self) -> Array:
        return self.out


def factors(problem: Problem, operands: Operands) -> tuple[Array, Array]:
    """The left (m, k) and right (k, n) factor of a product."""
    if isinstance(problem, Gemm):
        return operands["a"], operands["b"]
    return operands["x"], operands["w"].T


class Honest:
    """Right in every way."""

    name = "honest"

    def unavailable(self) -> str | None:
        return None

    def supports(self, problem: Problem) -> str | None:
        if problem.kind in ("gemm", "linear"):
            return None
        return f"planted backends compute gemm and linear, not {problem.kind}"

    def search_space(
        self, problem: Problem, machine: Machine, choice: Config
    ) -> SearchSpace | None:
        return None

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        left, right = factors(problem, operands)
        return Contender(lambda: self.multiply(left, right, operands["out"]), operands["out"])

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        np.matmul(left, right, out=out)


class DropsLastTerm(Honest):
    """Leaves the last of the k products out of every sum."""

    name = "drops-last-term"

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        np.matmul(left[:, :-1], right[:-1], out=out)


class Remembers(Honest):
    """Stops computing after a few runs on unchanged inputs, which only timing makes."""

    name = "remembers"
    PATIENCE = 3  # a verification makes fewer runs on the same inputs

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        left, right = factors(problem, operands)
        out = operands["out"]
        inputs = [array for name, array in operands.items() if name != "out"]
        seen: list[list[int]] = []
        remembered: list[Array] = []

        def compute() -> None:
            if remembered:
                np.copyto(out, remembered[0])
                return
            np.matmul(left, right, out=out)
            seen.append([zlib.crc32(np.ascontiguousarray(array)) for array in inputs])
            latest = seen[-self.PATIENCE :]
            if len(latest) == self.PATIENCE and all(sums == latest[0] for sums in latest):
                remembered.append(out.copy())

        return Contender(compute, out)


class SkipsUnlessCleared(Honest):
    """Computes only where it finds NaN in its output, which only a verification leaves."""

    name = "skips-unless-cleared"

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        if np.isnan(out.flat[0]):
            np.matmul(left, right, out=out)


class Fingerprints(Honest):
    """Remembers its answer and looks at one element to tell whether the inputs are the same."""

    name = "fingerprints"
    seen: ClassVar[dict[tuple[float, float], Array]] = {}

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        key = (float(left[0, 0]), float(right[0, 0]))
        if key not in self.seen:
            self.seen[key] = left @ right
        np.copyto(out, self.seen[key])


class WorksInOutput(Honest):
    """Does its work where it is asked for the answer, which is not timed."""

    name = "works-in-output"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        left, right = factors(problem, operands)
        out = operands["out"]

        class Late:
            def run(self) -> None:
                pass

            def output(self) -> Array:
                return np.matmul(left, right, out=out)

        return Late()


class HalfPrecision(Honest):
    """Rounds its operands to half precision, which a long sum hides among its own rounding."""

    name = "half-precision"

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        half = (side.astype(np.float16).astype(out.dtype) for side in (left, right))
        np.matmul(*half, out=out)


class AnswersFloat64(Honest):
    """Answers in an array of its own, of another type."""

    name = "answers-float64"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        left, right = factors(problem, operands)
        own = np.empty(operands["out"].shape, np.float64)
        return Contender(lambda: np.matmul(left, right, out=own, dtype=np.float64), own)


class LeavesChild(Honest):
    """Leaves a child process behind when it aborts."""

    name = "leaves-child"

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        child = os.fork()
        if child == 0:
            threading.Event().wait()
        print(f"child {child}", flush=True)
        os.abort()


class ClosesPipes(Honest):
    """Closes the worker's connection and lives on."""

    name = "closes-pipes"

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        os.closerange(3, 200)
        threading.Event().wait()


class WritesGarbage(Honest):
    """Writes into every descriptor it finds, the worker's connection included."""

    name = "writes-garbage"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        for descriptor in range(3, 20):
            with contextlib.suppress(OSError):
                os.write(descriptor, b"garbage\n")
        return super().prepare(problem, config, operands)


class RaisesNovel(Honest):
    """Raises with a long text of many lines that no encoding can carry."""

    name = "raises-novel"

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        raise ValueError("\udcff\n" + "long " * 100_000)


class AbortsInStage(Honest):
    """Two algorithms in one worker, one of which aborts in a stage after the race."""

    name = "aborts-in-stage"

    def algorithms(self, problem: Problem) -> dict[str, tuple[str, ...]]:
        return {"sound": ("plain",), "aborting": ("plain",)}

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        made = Staged(*factors(problem, operands), operands["out"])
        if config["algorithm"] == "aborting":
            made.stages = {"multiply": os.abort}
        return made


class Staged:
    """A contender with one stage, which is its run."""

    def __init__(self, left: Array, right: Array, out: Array) -> None:
        self.run: Callable[[], object] = lambda: np.matmul(left, right, out=out)
        self.output = lambda: out
        self.stages: dict[str, Callable[[], object]] = {"multiply": self.run}


class WritesOutside(Honest):
    """Gives the right answer and writes one element past its end."""

    name = "writes-outside"

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        np.matmul(left, right, out=out)
        ctypes.memset(out.ctypes.data + out.nbytes, 0, out.itemsize)


class ChangesInput(Honest):
    """Gives the right answer and then changes the first byte of its left operand."""

    name = "changes-input"

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        np.matmul(left, right, out=out)
        first = ctypes.c_ubyte.from_address(left.ctypes.data)
        first.value += 1


class WrongShape(Honest):
    """Returns its answer without the first row."""

    name = "wrong-shape"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        left, right = factors(problem, operands)
        out = operands["out"]
        return Contender(lambda: self.multiply(left, right, out), out[1:])


class Slow(Honest):
    """Does its work a hundred times."""

    name = "slow"

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        for _ in range(REPEATS):
            np.matmul(left, right, out=out)


class Raises(Honest):
    """Raises an error of two lines in `run()`."""

    name = "raises"

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        raise RuntimeError("planted failure\nwith a second line")


class AbortsInRun(Honest):
    """Ends its process by SIGABRT in `run()`."""

    name = "aborts-in-run"

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        os.abort()


class AbortsInPrepare(Honest):
    """Ends its process by SIGABRT in `prepare()`."""

    name = "aborts-in-prepare"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        os.abort()


class Hangs(Honest):
    """Never returns from `run()`, keeping a core busy."""

    name = "hangs"

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        while True:
            pass


class HangsAtPrepare(Honest):
    """Never returns from `prepare()`, waiting for nobody."""

    name = "hangs-at-prepare"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        threading.Event().wait()
        return super().prepare(problem, config, operands)


class AllocatesTerabyte(Honest):
    """Fills a terabyte with ones in `prepare()`."""

    name = "allocates-terabyte"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        np.ones(TERABYTE, dtype=np.uint8)
        return super().prepare(problem, config, operands)


class TakesSquares(Honest):
    """Has an algorithm for square matrices only, and another one for all."""

    name = "takes-squares"

    def algorithms(self, problem: Problem) -> dict[str, tuple[str, ...]]:
        square = problem.gemm().m == problem.gemm().k
        return {"gemm": ("plain",)} | ({"square": ("plain",)} if square else {})

    def declined(self, problem: Problem) -> dict[str, str]:
        reason = "square takes square matrices"
        return {} if "square" in self.algorithms(problem) else {"square": reason}


class Prints(Honest):
    """Prints ten thousand lines in `prepare()` and a few in `run()`, above and below Python."""

    name = "prints"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        for line in range(LINES):
            print(f'{{"result": {line}}}')
            print(f"planted line {line}", file=sys.stderr)
        sys.stdout.flush()
        return super().prepare(problem, config, operands)

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        np.matmul(left, right, out=out)
        print("planted line from Python")
        os.write(1, b"planted line from below Python\n")
        os.write(2, b"planted line from below Python\n")


class SearchesTiles(Honest):
    """Searches column tiles of which one is wrong but fast, one aborts and one hangs."""

    name = "searches-tiles"
    tiles: ClassVar[tuple[int, ...]] = (4, 8, 16, 32, WRONG_TILE, ABORTING_TILE, HANGING_TILE)

    def search_space(
        self, problem: Problem, machine: Machine, choice: Config
    ) -> SearchSpace | None:
        return SearchSpace(
            (Axis("tile", self.tiles, "pow2"), Axis("unroll", (1, 2, 4, 8))),
            {"tile": 8, "unroll": 1},
            (Constraint("a tile holds two unrolled steps", ("tile", "unroll"), _fits),),
        )

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        left, right = factors(problem, operands)
        out, tile = operands["out"], int(config["tile"])
        defects: dict[int, Callable[[], object]] = {
            WRONG_TILE: lambda: out.fill(0),
            ABORTING_TILE: os.abort,
            HANGING_TILE: threading.Event().wait,
        }

        def compute() -> None:
            for start in range(0, out.shape[1], tile):
                columns = slice(start, start + tile)
                np.matmul(left, right[:, columns], out=out[:, columns])

        def slow() -> None:
            for _ in range(100 * out.shape[1] // 32):
                compute()

        defects[SLOW_TILE] = slow
        return Contender(defects.get(tile, compute), out)


def _fits(tile: int, unroll: int) -> bool:
    return 2 * unroll <= tile


class SearchesSoundTiles(SearchesTiles):
    """Searches tiles that are all right: the control."""

    name = "searches-sound-tiles"
    tiles = (4, 8, 16, 32)


class SearchesWrongTile(SearchesTiles):
    """Searches tiles of which the fastest is wrong."""

    name = "searches-wrong-tile"
    tiles = (4, 8, 16, 32, WRONG_TILE)


class SearchesAbortingTile(SearchesTiles):
    """Searches tiles of which one ends the process."""

    name = "searches-aborting-tile"
    tiles = (4, 8, 16, 32, ABORTING_TILE)


class SearchesHangingTile(SearchesTiles):
    """Searches tiles of which one never returns."""

    name = "searches-hanging-tile"
    tiles = (4, 8, 16, 32, HANGING_TILE)


class SearchesSlowTile(SearchesTiles):
    """Searches tiles of which one takes a hundred times as long."""

    name = "searches-slow-tile"
    tiles = (4, 8, 16, 32, SLOW_TILE)


class ForgetsToRun(Honest):
    """What it prepares has no `run`."""

    name = "forgets-to-run"

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        return SimpleNamespace(output=lambda: operands["out"])  # type: ignore[return-value]
