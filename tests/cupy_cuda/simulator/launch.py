"""Runs a grid: some blocks at a time, their threads in step as long as they agree where to go.

Where threads part, those furthest behind go first, so that they meet again. Blocks never wait for
each other, so any number of them may run side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arithmetic import TYPES, Registers, compile_compute
from .memory import Copies, Global, Shared
from .parse import Program, PtxError, parse
from .steps import MEMORY, Step, compile_memory

THREADS_AT_ONCE = 2**14
MOST_STEPS = 20_000_000  # of one group of blocks: a loop without end

Triple = tuple[int, int, int]


@dataclass(slots=True)
class Launch:
    """What a launch did, summed over threads: a cost that needs no hardware."""

    fma: int = 0
    steps: int = 0  # instructions issued for a group of blocks together
    barriers: int = 0
    store_conflicts: int = 0  # times a warp's store of single words had to wait for a bank


class Kernel:
    """An entry function of a PTX module, ready to run."""

    def __init__(self, ptx: str, entry: str) -> None:
        self.program: Program = parse(ptx, entry)
        symbols = self.program.shared
        self.steps: list[Step] = []
        for instruction in self.program.instructions:
            compute = compile_compute(instruction, symbols)
            memory = compile_memory(instruction, symbols) if compute is None else None
            if compute is None and memory is None and instruction.parts[0] not in CONTROL:
                raise PtxError(f"unknown instruction {instruction.opcode}")
            self.steps.append(Step(instruction, compute, memory))

    def launch(
        self, grid: Triple, block: Triple, args: Sequence[Any], dynamic_bytes: int = 0
    ) -> Launch:
        """Run every block; arrays among `args` are written in place. Raises PtxError."""
        threads, done = int(np.prod(block)), Launch()
        if threads > self.program.most_threads:
            raise PtxError(f"{threads} threads, compiled for {self.program.most_threads}")
        memory = Global()
        params = _params(self.program, args, memory)
        count = int(np.prod(grid))
        at_once = max(1, THREADS_AT_ONCE // threads)
        with np.errstate(all="ignore"):
            for first in range(0, count, at_once):
                numbers = np.arange(first, min(count, first + at_once))
                group = Group(self, numbers, grid, block, params, memory, dynamic_bytes)
                group.run(done)
        return done


CONTROL = {"bra", "bar", "barrier", "ret", "exit"}


def _params(program: Program, args: Sequence[Any], memory: Global) -> dict[str, Any]:
    """Parameters as the driver packs them: the bytes of each argument, read by declared type.

    What lies behind an argument that is too short is anything, so that one is refused.
    """
    if len(args) != len(program.params):
        raise PtxError(f"{program.entry} takes {len(program.params)} arguments, got {len(args)}")
    params = {}
    for (kind, name), arg in zip(program.params, args, strict=True):
        if isinstance(arg, np.ndarray):
            params[name] = memory.add(arg)
        else:
            dtype = np.dtype(TYPES[kind])
            packed = np.asarray(arg).tobytes()
            if len(packed) < dtype.itemsize:
                raise PtxError(
                    f"{name}: got {len(packed)} bytes, the kernel reads {dtype.itemsize} there"
                )
            params[name] = np.frombuffer(packed[: dtype.itemsize], dtype)[0]
    return params


class Group:
    """Some blocks of a grid, run together. A mask of None stands for all threads."""

    def __init__(
        self, kernel: Kernel, numbers: Any, grid: Triple, block: Triple,
        params: dict[str, Any], memory: Global, dynamic_bytes: int,
    ) -> None:  # fmt: skip
        threads = int(np.prod(block))
        self.kernel, self.params, self.memory = kernel, params, memory
        self.blocks, self.per_block = len(numbers), threads
        self.count = self.blocks * threads
        self.everyone = np.arange(self.count)
        self.threads = self.everyone + numbers[0] * threads  # numbers in the whole grid
        nbytes = kernel.program.shared_bytes
        if dynamic_bytes:
            nbytes = -(-nbytes // 16) * 16 + dynamic_bytes
        self.shared = Shared(self.blocks, nbytes, threads)
        self.copies = Copies(self.shared, np.zeros(self.count, np.int64))
        self.registers = _special(numbers, grid, block)
        self.alive = np.ones(self.count, np.bool_)
        self.waiting = np.zeros(self.count, np.bool_)
        self.pc = np.zeros(self.count, np.int64)

    def run(self, done: Launch) -> None:
        """Until every thread has returned."""
        at, steps, self.done = 0, self.kernel.steps, done
        together = True  # all threads are alive and at `at`
        for _ in range(MOST_STEPS):
            if not together:
                if not self.alive.any():
                    return
                at, mask = self._furthest_behind(done)
            else:
                mask = None
            if at >= len(steps):
                raise PtxError("a thread ran past the end of the kernel")
            step = steps[at]
            done.steps += 1
            guarded = self._guarded(step, mask)
            name = step.instruction.parts[0]
            if name == "bra":
                target = self.kernel.program.labels[step.instruction.operands[0]]
                if together and (guarded is None or guarded.all()):
                    at = target
                elif together and not guarded.any():
                    at += 1
                else:
                    self._part(at, mask, guarded, target)
                    together = self._together()
                    at = int(self.pc[0])
            elif name in ("bar", "barrier"):
                if step.guard:
                    raise PtxError("a barrier under a predicate")
                if together:
                    self.shared.barrier(slice(None))
                    done.barriers += self.blocks
                    at += 1
                else:
                    self.waiting |= mask
            elif name in ("ret", "exit"):
                if together and guarded is None:
                    return
                if together:
                    self.pc[:] = at
                leaving = self._all(mask) if guarded is None else guarded
                self.pc[self._all(mask)] = at + 1
                self.alive &= ~leaving
                together = False
            else:
                if guarded is None or guarded.any():
                    self._do(step, guarded)
                    if name == "fma":
                        done.fma += self.count if guarded is None else int(guarded.sum())
                if together:
                    at += 1
                else:
                    self.pc[mask] += 1
                    together = self._together()
                    at = int(self.pc[0])
        raise PtxError("still running: a loop without end")

    def _all(self, mask: Any) -> Any:
        return np.ones(self.count, np.bool_) if mask is None else mask

    def _guarded(self, step: Step, mask: Any) -> Any:
        """The threads of `mask` for which the instruction's predicate holds."""
        if not step.guard:
            return mask
        holds = self.registers.get(step.guard)
        if holds is None:
            raise PtxError(f"predicate {step.guard} is read before anything was written to it")
        holds = np.broadcast_to(~holds if step.negated else holds, (self.count,))
        return holds if mask is None else holds & mask

    def _part(self, at: int, mask: Any, jumping: Any, target: int) -> None:
        here = self._all(mask)
        self.pc[here] = at + 1
        self.pc[here if jumping is None else jumping] = target

    def _together(self) -> bool:
        return bool((self.pc == self.pc[0]).all() and self.alive.all() and not self.waiting.any())

    def _furthest_behind(self, done: Launch) -> tuple[int, Any]:
        """Where the threads furthest behind are, and which; opens barriers that are due."""
        running = self.alive & ~self.waiting
        if not running.any():
            self._open_barriers(done)
            running = self.alive
        at = int(self.pc[running].min())
        return at, running & (self.pc == at)

    def _open_barriers(self, done: Launch) -> None:
        """Every thread that lives waits: each block must stand whole at one barrier."""
        shape = (self.blocks, self.per_block)
        alive, pc = self.alive.reshape(shape), self.pc.reshape(shape)
        blocks = alive.any(axis=1)
        if not alive[blocks].all():
            raise PtxError("a thread has left the kernel while others of its block wait")
        if (pc[blocks] != pc[blocks][:, :1]).any():
            raise PtxError("threads of one block wait at different barriers")
        self.shared.barrier(blocks)
        done.barriers += int(blocks.sum())
        self.pc[self.waiting] += 1
        self.waiting[:] = False

    def _do(self, step: Step, mask: Any) -> None:
        if step.compute is not None:
            name, compute = step.compute
            self.write(name, compute(self.registers), mask)
        elif step.memory is not None:
            MEMORY[step.memory.kind](self, step.memory, mask)

    def write(self, name: str, value: Any, mask: Any) -> None:
        """Give a register its value, in the threads of `mask` only."""
        if mask is not None:
            before = self.registers.get(name)
            if before is None:
                before = np.zeros((), value.dtype)
            elif before.dtype != value.dtype:
                if before.dtype.itemsize != value.dtype.itemsize:
                    raise PtxError(f"register {name} changes its size")
                before = before.view(value.dtype)
            value = np.where(mask, value, before)
        self.registers[name] = value

    def lanes(self, mask: Any) -> Any:
        """Indices of the threads of `mask` in this group."""
        return self.everyone if mask is None else np.flatnonzero(mask)

    def of(self, value: Any, lanes: Any) -> Any:
        """A register's values in the threads `lanes`, also where it is one for all."""
        whole = np.broadcast_to(np.asarray(value), (self.count,))
        return whole if lanes is self.everyone else whole[lanes]


def _special(numbers: Any, grid: Triple, block: Triple) -> Registers:
    threads = int(np.prod(block))
    within = np.tile(np.arange(threads, dtype=np.uint32), len(numbers))
    number = np.repeat(numbers.astype(np.uint32), threads)
    registers: Registers = {"%globaltimer": np.uint64(0)}
    for axis, name in enumerate("xyz"):
        registers[f"%ntid.{name}"] = np.uint32(block[axis])
        registers[f"%nctaid.{name}"] = np.uint32(grid[axis])
        registers[f"%tid.{name}"] = within % np.uint32(block[axis])
        registers[f"%ctaid.{name}"] = number % np.uint32(grid[axis])
        within, number = within // np.uint32(block[axis]), number // np.uint32(grid[axis])
    return registers
