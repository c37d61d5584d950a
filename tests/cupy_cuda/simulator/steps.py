"""What memory instructions do: loads, stores and asynchronous copies."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .arithmetic import TYPES, Compute, operand
from .parse import Instruction, PtxError

WORDS = {"f32", "b32", "u32", "s32"}
WIDE_BYTES = 8  # of a register called %rd…
CACHES = {"nc", "cg", "ca", "cs", "lu"}  # where a value is kept on its way


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory instruction, decoded."""

    kind: str  # "load", "store", "copy", "commit", "wait", "param", "clock"
    what: str  # its opcode, for messages
    space: str = ""
    value_type: str = ""
    registers: tuple[str, ...] = ()  # that are loaded or stored
    address: Any = None  # reads the address register
    offset: int = 0
    source: Any = None  # of a copy: reads the global address,
    source_offset: int = 0
    size: Any = None  # and the bytes to read; the rest is zeros
    width: int = 1  # words
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction and what it does: computing, memory, or neither (control)."""

    instruction: Instruction
    compute: tuple[str, Compute] | None
    memory: Memory | None

    @property
    def guard(self) -> str:
        """Its predicate register; "" if it has none."""
        return self.instruction.guard

    @property
    def negated(self) -> bool:
        """Whether it acts where the predicate is false."""
        return self.instruction.negated


def compile_memory(instruction: Instruction, symbols: dict[str, int]) -> Memory | None:
    """`instruction` decoded; None if it is none of the memory instructions that are known."""
    parts, operands = instruction.parts, instruction.operands
    if parts[0] in ("ld", "st"):
        return _load_or_store(instruction, symbols)
    if parts[:2] != ("cp", "async"):
        return None
    if parts[2:] == ("commit_group",):
        return Memory("commit", instruction.opcode)
    if parts[2:] == ("wait_group",):
        return Memory("wait", instruction.opcode, pending=int(operands[0]))
    if parts[2:] in (("ca", "shared", "global"), ("cg", "shared", "global")):
        return _copy(instruction, symbols)
    return None


def _load_or_store(instruction: Instruction, symbols: dict[str, int]) -> Memory | None:
    parts, loads = instruction.parts, instruction.parts[0] == "ld"
    space, kind = parts[1], parts[-1]
    vectors = [part for part in parts[2:-1] if part not in CACHES]
    width = {(): 1, ("v2",): 2, ("v4",): 4}.get(tuple(vectors), 0)
    place = instruction.operands[1 if loads else 0]
    names = instruction.operands[0 if loads else 1].strip("{}").replace(" ", "").split(",")
    if space == "param" and loads and width == 1:
        names.append(place.strip("[]"))
        return Memory("param", instruction.opcode, value_type=kind, registers=tuple(names))
    known = space in ("global", "shared") and kind in WORDS and len(names) == width
    if not known or any(name.startswith("%rd") for name in names):
        return None
    address, offset = _address(place, "u64" if space == "global" else None, symbols)
    return Memory(
        "load" if loads else "store", instruction.opcode, space, kind, tuple(names),
        address, offset, width=width,
    )  # fmt: skip


def _copy(instruction: Instruction, symbols: dict[str, int]) -> Memory:
    target, source, nbytes, *size = instruction.operands
    if int(nbytes) not in (4, 8, 16) or ("cg" in instruction.parts and int(nbytes) != 16):
        raise PtxError(f"{instruction.opcode} of {nbytes} bytes: that does not exist")
    address, offset = _address(target, None, symbols)
    origin, origin_offset = _address(source, "u64", symbols)
    return Memory(
        "copy", instruction.opcode, address=address, offset=offset, source=origin,
        source_offset=origin_offset, width=int(nbytes) // 4,
        size=operand(size[0] if size else nbytes, "u32", symbols),
    )  # fmt: skip


def _address(text: str, kind: str | None, symbols: dict[str, int]) -> tuple[Any, int]:
    """Reads the register or symbol in `[base+offset]`; shared addresses come in 32 or 64 bits."""
    base, _, offset = text[1:-1].partition("+")
    if kind is not None or not base.startswith("%"):
        return operand(base, kind or "u32", symbols), int(offset or 0)

    def either(registers: dict[str, Any]) -> Any:
        if base not in registers:
            raise PtxError(f"register {base} is read before anything was written to it")
        value = registers[base]
        return value.view(np.uint32 if value.dtype.itemsize == 4 else np.uint64)

    return either, int(offset or 0)


def _addresses(group: Any, read: Any, offset: int, lanes: Any) -> Any:
    return group.of(read(group.registers), lanes).astype(np.int64) + offset


def _do_load(group: Any, memory: Memory, mask: Any) -> None:
    lanes = group.lanes(mask)
    addresses = _addresses(group, memory.address, memory.offset, lanes)
    if memory.space == "shared":
        values = group.shared.load(lanes, addresses, memory.width, memory.what)
    else:
        threads = group.threads[lanes]
        values = group.memory.load(addresses, memory.width, threads, memory.what)
    for name, row in zip(memory.registers, values, strict=True):
        if mask is None:
            group.registers[name] = row
        else:
            whole = np.zeros(group.count, np.float32)
            whole[lanes] = row
            group.write(name, whole, mask)


def _do_store(group: Any, memory: Memory, mask: Any) -> None:
    lanes = group.lanes(mask)
    addresses = _addresses(group, memory.address, memory.offset, lanes)
    reads = [operand(name, memory.value_type, {}) for name in memory.registers]
    values = np.stack([group.of(read(group.registers), lanes).view(np.float32) for read in reads])
    if memory.space == "shared":
        group.shared.store(lanes, addresses, values, memory.what)
        if memory.width == 1:
            group.done.store_conflicts += bank_conflicts(lanes, addresses)
    else:
        group.memory.store(addresses, values, group.threads[lanes], memory.what)


def bank_conflicts(lanes: Any, addresses: Any) -> int:
    """How often a bank of the 32 has to serve a warp once more, for stores of distinct words."""
    counts = np.zeros((int(lanes.max()) // 32 + 1, 32), np.int64)
    np.add.at(counts, (lanes // 32, addresses // 4 % 32), 1)
    return int(np.maximum(counts.max(axis=1) - 1, 0).sum())


def _do_copy(group: Any, memory: Memory, mask: Any) -> None:
    lanes = group.lanes(mask)
    targets = _addresses(group, memory.address, memory.offset, lanes)
    sources = _addresses(group, memory.source, memory.source_offset, lanes)
    size = group.of(memory.size(group.registers), lanes)
    if ((size != 0) & (size != 4 * memory.width)).any():
        raise PtxError(
            f"{memory.what} reads {sorted(set(size.tolist()))} bytes: neither all nor none"
        )
    values = np.zeros((memory.width, lanes.size), np.float32)
    reading = np.flatnonzero(size)
    if reading.size:
        threads = group.threads[lanes[reading]]
        values[:, reading] = group.memory.load(sources[reading], memory.width, threads, memory.what)
    index = group.shared.begin_copy(lanes, targets, memory.width, memory.what)
    group.copies.issue(lanes, index, values)


def _do_commit(group: Any, memory: Memory, mask: Any) -> None:
    group.copies.commit(group.lanes(mask))


def _do_wait(group: Any, memory: Memory, mask: Any) -> None:
    waiting = np.ones(group.count, np.bool_) if mask is None else mask
    group.copies.wait(waiting, memory.pending)


def _do_param(group: Any, memory: Memory, mask: Any) -> None:
    """A parameter, extended by its sign where the register is wider."""
    register, name = memory.registers
    value = group.params[name].view(TYPES[memory.value_type])
    if register.startswith("%rd") and value.dtype.itemsize < WIDE_BYTES:
        value = value.astype(np.int64 if memory.value_type[0] == "s" else np.uint64)
    group.registers[register] = value


MEMORY = {
    "load": _do_load, "store": _do_store, "copy": _do_copy, "commit": _do_commit,
    "wait": _do_wait, "param": _do_param,
}  # fmt: skip
