"""What computing instructions do to registers. Memory, branches and barriers are elsewhere.

A register is a NumPy array with an element per thread, or a scalar where all threads hold the same;
it keeps the type it was written with and is reinterpreted when read as another of the same size.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .parse import Instruction, PtxError

TYPES: dict[str, Any] = {
    "f32": np.float32, "f64": np.float64, "s32": np.int32, "u32": np.uint32, "b32": np.uint32,
    "s64": np.int64, "u64": np.uint64, "b64": np.uint64, "s16": np.int16, "u16": np.uint16,
    "b16": np.uint16, "pred": np.bool_,
}  # fmt: skip
WIDE: dict[str, Any] = {  # what a product of the type needs in full
    "s16": np.int32, "u16": np.uint32, "s32": np.int64, "u32": np.uint64,
}  # fmt: skip
FLAGS = {"ftz", "rn"}  # change rounding at most, which f32 sums here do not see
COMPARE: dict[str, Any] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "lo": np.less, "ls": np.less_equal, "hi": np.greater,
    "hs": np.greater_equal,
}  # fmt: skip
PLAIN: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "min": np.minimum, "max": np.maximum,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}  # fmt: skip

Registers = dict[str, Any]
Read = Callable[[Registers], Any]
Compute = Callable[[Registers], Any]


def operand(text: str, kind: str, symbols: dict[str, int]) -> Read:
    """Reads `text`, a register, an immediate or a shared symbol, as the type `kind`."""
    dtype = np.dtype(TYPES[kind])
    if text == "%globaltimer":
        return _tick
    if text.startswith("%"):
        return lambda registers: _as(registers, text, dtype)
    value = _immediate(text, kind, symbols)
    return lambda _: value


def compile_compute(
    instruction: Instruction, symbols: dict[str, int]
) -> tuple[str, Compute] | None:
    """The destination register and what goes there; None if `instruction` does not compute.

    Raises PtxError for an opcode, or a variant of one, that is not known.
    """
    parts = [part for part in instruction.parts if part not in FLAGS]
    name, kind = parts[0], parts[-1]
    make = SPECIAL.get(name) or (_plain(PLAIN[name]) if name in PLAIN else None)
    if make is None or kind not in TYPES:
        return None
    reads = [lambda t, text=text: operand(text, t, symbols) for text in instruction.operands[1:]]
    compute = make(parts[1:], kind, reads)
    if compute is None:
        raise PtxError(f"unknown instruction {instruction.opcode}")
    return instruction.operands[0], compute


def _tick(registers: Registers) -> Any:
    """The clock goes on by a microsecond each time somebody looks."""
    registers["%globaltimer"] = registers["%globaltimer"] + np.uint64(1000)
    return registers["%globaltimer"]


def _as(registers: Registers, name: str, dtype: Any) -> Any:
    value = registers.get(name)
    if value is None:
        raise PtxError(f"register {name} is read before anything was written to it")
    if value.dtype == dtype:
        return value
    if value.dtype.itemsize != dtype.itemsize:
        raise PtxError(f"register {name} holds {value.dtype}, read as {dtype}")
    return value.view(dtype)


def _immediate(text: str, kind: str, symbols: dict[str, int]) -> Any:
    dtype = np.dtype(TYPES[kind])
    if text.startswith("0f"):
        return np.uint32(int(text[2:], 16)).view(np.float32)
    if kind == "pred":
        return np.bool_(int(text) != 0)
    if text in symbols:
        return dtype.type(symbols[text])
    try:
        number = int(text, 0)
    except ValueError:
        raise PtxError(f"unknown operand {text!r}") from None
    unsigned = np.dtype(f"u{dtype.itemsize}")
    return unsigned.type(number & (2 ** (8 * dtype.itemsize) - 1)).view(dtype)


def _plain(function: Any) -> Any:
    def make(parts: list[str], kind: str, reads: list[Any]) -> Compute | None:
        x, y, variant = reads[0](kind), reads[1](kind), parts[:-1]
        if variant in ([], ["lo"]):
            return lambda r: function(x(r), y(r))
        wide = WIDE.get(kind)
        if function is not np.multiply or wide is None:
            return None
        if variant == ["wide"]:
            return lambda r: np.multiply(x(r), y(r), dtype=wide)
        if variant == ["hi"]:
            narrow = np.dtype(TYPES[kind])
            bits = wide(8 * narrow.itemsize)
            return lambda r: (np.multiply(x(r), y(r), dtype=wide) >> bits).astype(narrow)
        return None

    return make


def _fma(parts: list[str], kind: str, reads: list[Any]) -> Compute | None:
    """One rounding of the exact product plus the addend, up to double rounding."""
    if kind != "f32":
        return None
    x, y, z = (read(kind) for read in reads)

    def compute(r: Registers) -> Any:
        total = np.multiply(x(r), y(r), dtype=np.float64)
        return (total + z(r)).astype(np.float32)

    return compute


def _mad(parts: list[str], kind: str, reads: list[Any]) -> Compute | None:
    if parts[0] == "wide":
        wide = {"s32": "s64", "u32": "u64"}[kind]
        x, y, z = reads[0](kind), reads[1](kind), reads[2](wide)
        return lambda r: np.multiply(x(r), y(r), dtype=TYPES[wide]) + z(r)
    if parts[0] != "lo":
        return None
    x, y, z = (read(kind) for read in reads)
    return lambda r: x(r) * y(r) + z(r)


def _move(parts: list[str], kind: str, reads: list[Any]) -> Compute | None:
    return reads[0](kind) if len(parts) == 1 else None


def _convert(parts: list[str], kind: str, reads: list[Any]) -> Compute | None:
    """Between integers: widened by the sign of the source, or cut off."""
    if len(parts) != 2 or {"f32", "f64"} & set(parts):
        return None
    x, target = reads[0](kind), TYPES[parts[0]]
    return lambda r: x(r).astype(target)


def _set_predicate(parts: list[str], kind: str, reads: list[Any]) -> Compute | None:
    if len(parts) != 2 or len(reads) != 2:
        return None
    comparison, (x, y) = parts[0], (read(kind) for read in reads)
    if kind == "f32" and comparison.endswith("u") and comparison[:-1] in COMPARE:
        ordered = COMPARE[comparison[:-1]]
        return lambda r: ordered(x(r), y(r)) | np.isnan(x(r)) | np.isnan(y(r))
    if kind == "f32" and comparison == "ne":
        return lambda r: (x(r) != y(r)) & ~np.isnan(x(r)) & ~np.isnan(y(r))
    compare = COMPARE.get(comparison)
    return None if compare is None else lambda r: compare(x(r), y(r))


def _select(parts: list[str], kind: str, reads: list[Any]) -> Compute | None:
    x, y, condition = reads[0](kind), reads[1](kind), reads[2]("pred")
    return lambda r: np.where(condition(r), x(r), y(r))


def _shift(left: bool) -> Any:
    def make(parts: list[str], kind: str, reads: list[Any]) -> Compute | None:
        x, by, bits = reads[0](kind), reads[1]("u32"), 8 * np.dtype(TYPES[kind]).itemsize
        move = np.left_shift if left else np.right_shift

        def compute(r: Registers) -> Any:
            count = by(r)
            if np.any(count >= bits):
                raise PtxError("a shift by as many bits as there are, or more")
            return move(x(r), np.asarray(count).astype(x(r).dtype))

        return compute

    return make


def _divide(parts: list[str], kind: str, reads: list[Any]) -> Compute | None:
    """Rounds towards zero."""
    if kind == "f32":
        return None
    x, y = (read(kind) for read in reads)

    def compute(r: Registers) -> Any:
        over, under = x(r), y(r)
        if np.any(under == 0):
            raise PtxError("an integer is divided by zero")
        return ((over - np.fmod(over, under)) // under).astype(over.dtype)

    return compute


def _to_global(parts: list[str], kind: str, reads: list[Any]) -> Compute | None:
    """Global addresses are what generic pointers hold here."""
    return reads[0](kind) if parts == ["to", "global", "u64"] else None


def _remainder(parts: list[str], kind: str, reads: list[Any]) -> Compute | None:
    x, y = (read(kind) for read in reads)
    return lambda r: np.fmod(x(r), y(r))


def _not(parts: list[str], kind: str, reads: list[Any]) -> Compute | None:
    x = reads[0](kind)
    return lambda r: ~x(r)


def _negate(parts: list[str], kind: str, reads: list[Any]) -> Compute | None:
    x = reads[0](kind)
    return lambda r: -x(r)


SPECIAL: dict[str, Any] = {
    "fma": _fma, "mad": _mad, "mov": _move, "cvt": _convert, "setp": _set_predicate,
    "selp": _select, "shl": _shift(True), "shr": _shift(False), "div": _divide,
    "rem": _remainder, "cvta": _to_global, "not": _not, "neg": _negate,
}  # fmt: skip
