"""PTX text -> instructions with their operands apart. Knows the grammar, not the meaning."""

import re
from dataclasses import dataclass

STATEMENT = re.compile(r"(?:@(!?)(%\w+)\s+)?([\w.]+)\s*(.*)$", re.DOTALL)
OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+")
SHARED = re.compile(r"\.shared \.align (\d+) \.b8 ([\w$]+)\[(\d*)\]")
DIRECTIVES = (".reg", ".loc", ".pragma", ".file", ".section")


class PtxError(RuntimeError):
    """The program did what no right kernel does, or something this simulator does not know."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """`@!%p1 ld.global.v4.f32 {%f1, …}, [%rd1+16];` in its parts."""

    opcode: str
    operands: tuple[str, ...]
    guard: str = ""  # the predicate register, if it has one
    negated: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The opcode at its dots: ("ld", "global", "v4", "f32")."""
        return tuple(self.opcode.split("."))


@dataclass(frozen=True, slots=True)
class Program:
    """One entry function. `shared` holds (offset) of each symbol; dynamic memory comes last."""

    entry: str
    params: tuple[tuple[str, str], ...]  # (type, name)
    instructions: tuple[Instruction, ...]
    labels: dict[str, int]
    shared: dict[str, int]
    shared_bytes: int  # static
    most_threads: int


def parse(ptx: str, entry: str) -> Program:
    """The entry function `entry` of a PTX module. Raises PtxError if it is not there."""
    if f".entry {entry}(" not in ptx:
        raise PtxError(f"no entry {entry!r}")
    text = re.sub(r"//[^\n]*", "", ptx)
    module, text = text[: text.index(f".entry {entry}(")], text[text.index(f".entry {entry}(") :]
    head, body = text[: text.index("{")], _braced(text)
    params = re.findall(r"\.param \.(\w+)[^,)\n]*?([\w$]+)(?=[,)\s])", head)
    most = re.search(r"\.maxntid (\d+), (\d+), (\d+)", head)
    shared, nbytes = _shared(module, body)
    instructions, labels = _code(body)
    return Program(
        entry, tuple(params), tuple(instructions), labels, shared, nbytes,
        int(most[1]) * int(most[2]) * int(most[3]) if most else 1024,
    )  # fmt: skip


def _braced(text: str) -> str:
    """What is between the first brace and its partner."""
    start, depth = text.index("{"), 0
    for at in range(start, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[start + 1 : at]
    raise PtxError("unbalanced braces")


def _shared(module: str, body: str) -> tuple[dict[str, int], int]:
    """Offsets of shared symbols, each aligned as declared and no better, and all static bytes."""
    offsets, end = {}, 0
    for align, name, size in SHARED.findall(body):
        start = -(-end // int(align)) * int(align)
        if start % (2 * int(align)) == 0:
            start += int(align)  # whoever needs more must say so
        offsets[name], end = start, start + int(size)
    for _, name, size in SHARED.findall(module):
        if not size:  # .extern: the launch gives its size
            offsets[name] = -(-end // 16) * 16
    return offsets, end


def _code(body: str) -> tuple[list[Instruction], dict[str, int]]:
    instructions: list[Instruction] = []
    labels = {}
    body = re.sub(r"(\$[\w$]+):", r"\1:;", body)
    for statement in (" ".join(part.split()) for part in body.split(";")):
        if not statement or statement.startswith((*DIRECTIVES, ".shared")):
            continue
        if statement.endswith(":"):
            labels[statement[:-1]] = len(instructions)
            continue
        match = STATEMENT.match(statement)
        if match is None:
            raise PtxError(f"cannot read {statement!r}")
        negated, guard, opcode, rest = match.groups()
        operands = tuple(OPERAND.findall(rest))
        instructions.append(Instruction(opcode, operands, guard or "", bool(negated)))
    return instructions, labels
