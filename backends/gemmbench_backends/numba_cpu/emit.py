"""LLVM IR as text: numbered values, structured loops, vectors and masks.

Text is several times faster to produce than llvmlite's builder objects, and a kernel is generated
for every new register block that a search meets. Nothing here knows what a kernel computes.
Every stride and offset is in bytes.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Typed = tuple[str, str]  # (LLVM type, value), such as ("ptr", "%7")
Values = dict[str, Typed]  # what a loop carries from one trip to the next, by name

_SCALAR = {"float32": ("float", 4, "f32", "i32"), "float64": ("double", 8, "f64", "i64")}


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector register: `lanes` elements of `dtype`."""

    dtype: str
    lanes: int

    @property
    def scalar(self) -> str:
        """The LLVM type of one element."""
        return _SCALAR[self.dtype][0]

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return _SCALAR[self.dtype][1]

    @property
    def nbytes(self) -> int:
        """Bytes of the register."""
        return self.lanes * self.itemsize

    @property
    def masks(self) -> bool:
        """Whether it can be stored by mask at no cost: AVX-512. AVX2's masked store is microcode
        on AMD (some 20 cycles), and elsewhere LLVM makes a branch for every lane.
        """
        return self.nbytes == 64

    @property
    def type(self) -> str:
        """The LLVM type of the register."""
        return f"<{self.lanes} x {self.scalar}>"

    @property
    def suffix(self) -> str:
        """How LLVM's intrinsics spell the register."""
        return f"v{self.lanes}{_SCALAR[self.dtype][2]}"

    @property
    def index(self) -> str:
        """The LLVM type of an integer as wide as one element."""
        return _SCALAR[self.dtype][3]


class Function:
    """One `void` function under construction. Parameters are read by name, as `%name`."""

    def __init__(self, name: str, parameters: Sequence[Typed], vector: Vector) -> None:
        self.vector = vector
        self._head = f"define void @{name}({', '.join(f'{t} %{p}' for t, p in parameters)}) #0 {{"
        self._lines = ["entry:"]
        self._block = "entry"
        self._count = 0

    def text(self) -> str:
        """A whole module: the function, and declarations of every intrinsic it might call."""
        v = self.vector
        mask = f"<{v.lanes} x i1>"
        return "\n".join(
            [
                self._head,
                *self._lines,
                "  ret void",
                "}",
                f"declare {v.type} @llvm.fma.{v.suffix}({v.type}, {v.type}, {v.type})",
                f"declare {v.type} @llvm.masked.load.{v.suffix}.p0(ptr, i32, {mask}, {v.type})",
                f"declare void @llvm.masked.store.{v.suffix}.p0({v.type}, ptr, i32, {mask})",
                f"declare {v.scalar} @llvm.vector.reduce.fadd.{v.suffix}({v.scalar}, {v.type})",
                "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)",
                "declare i64 @llvm.umin.i64(i64, i64)",
                'attributes #0 = { nounwind "prefer-vector-width"="512"'
                ' "min-legal-vector-width"="512" }',
                "!0 = !{i32 1}",
            ]
        )

    def new(self, expression: str) -> str:
        """The name of a new value."""
        name = self._fresh("%v")
        self._lines.append(f"  {name} = {expression}")
        return name

    def do(self, statement: str) -> None:
        """Append an instruction without a result."""
        self._lines.append(f"  {statement}")

    def at(self, pointer: str, nbytes: int | str) -> str:
        """`pointer` moved by a number of bytes."""
        return (
            pointer if nbytes == 0 else self.new(f"getelementptr i8, ptr {pointer}, i64 {nbytes}")
        )

    def load(self, pointer: str, mask: str | None = None) -> str:
        """The vector at `pointer`, which need not be aligned; lanes out of `mask` are 0, unread."""
        v = self.vector
        if mask is None:
            return self.new(f"load {v.type}, ptr {pointer}, align {v.itemsize}")
        return self.new(
            f"call {v.type} @llvm.masked.load.{v.suffix}.p0(ptr {pointer}, i32 {v.itemsize}, "
            f"<{v.lanes} x i1> {mask}, {v.type} zeroinitializer)"
        )

    def store(self, value: str, pointer: str, mask: str | None = None) -> None:
        """Write a vector; lanes out of `mask` leave memory untouched."""
        v = self.vector
        if mask is None:
            self.do(f"store {v.type} {value}, ptr {pointer}, align {v.itemsize}")
            return
        self.do(
            f"call void @llvm.masked.store.{v.suffix}.p0({v.type} {value}, ptr {pointer}, "
            f"i32 {v.itemsize}, <{v.lanes} x i1> {mask})"
        )

    def stream(self, value: str, pointer: str) -> None:
        """Write a vector past the caches; `pointer` is a multiple of the register's size.

        The order of such writes is no other's: `fence` before anybody else may read them.
        """
        v = self.vector
        self.do(f"store {v.type} {value}, ptr {pointer}, align {v.nbytes}, !nontemporal !0")

    def fence(self) -> None:
        """Wait until all that was written can be read by others."""
        self.do("fence seq_cst")

    def store_lanes(self, value: str, pointer: str, count: str, mask: str) -> None:
        """Write the first `count` (i64) lanes, those of `mask`, no others.

        All lanes may only be meant where `vector.masks`.
        """
        if self.vector.masks:
            self.store(value, pointer, mask)
        else:
            self.store_parts(value, pointer, count)

    def store_parts(self, value: str, pointer: str, count: str) -> None:
        """Write the first `count` (i64) lanes, fewer than all: half a register, a quarter, and so
        on, by the bits of the count.
        """
        v, size = self.vector, self.vector.lanes
        state: Values = {"value": (v.type, value), "at": ("ptr", pointer)}
        while size := size // 2:

            def part(now: Values, size: int = size) -> Values:
                whole, at = now["value"][1], now["at"][1]
                picks = ", ".join(f"i32 {lane}" for lane in range(size))
                low = self.new(
                    f"shufflevector {v.type} {whole}, {v.type} poison, <{size} x i32> <{picks}>"
                )
                self.do(f"store <{size} x {v.scalar}> {low}, ptr {at}, align {v.itemsize}")
                rest = [min(lane + size, v.lanes - 1) for lane in range(v.lanes)]
                moved = self.shuffle(whole, whole, rest)
                return {"value": (v.type, moved), "at": ("ptr", self.at(at, size * v.itemsize))}

            bit = self.new(f"and i64 {count}, {size}")
            state = self.when(self.new(f"icmp ne i64 {bit}, 0"), state, part)

    def load_scalar(self, pointer: str) -> str:
        """The element at `pointer`."""
        return self.new(f"load {self.vector.scalar}, ptr {pointer}, align {self.vector.itemsize}")

    def splat(self, scalar: str, kind: str | None = None) -> str:
        """A vector with `scalar` in every lane; `kind` is the element's type, if not the dtype."""
        element, lanes = kind or self.vector.scalar, self.vector.lanes
        one = self.new(f"insertelement <{lanes} x {element}> poison, {element} {scalar}, i32 0")
        return self.new(
            f"shufflevector <{lanes} x {element}> {one}, <{lanes} x {element}> poison, "
            f"<{lanes} x i32> zeroinitializer"
        )

    def constant(self, value: float) -> str:
        """A vector with `value`, rounded to the dtype, in every lane."""
        rounded = struct.unpack("f", struct.pack("f", value))[0]
        exact = rounded if self.vector.dtype == "float32" else value
        bits = struct.unpack("Q", struct.pack("d", exact))[0]  # LLVM spells a float as a double
        lane = f"{self.vector.scalar} 0x{bits:016X}"
        return f"<{', '.join([lane] * self.vector.lanes)}>"

    def shuffle(self, a: str, b: str, picks: Sequence[int]) -> str:
        """Lanes of `a` (0 … lanes-1) and `b` (lanes … 2·lanes-1), as `picks` says."""
        v = self.vector
        lanes = ", ".join(f"i32 {pick}" for pick in picks)
        return self.new(f"shufflevector {v.type} {a}, {v.type} {b}, <{len(picks)} x i32> <{lanes}>")

    def fma(self, a: str, b: str, c: str) -> str:
        """a·b + c, rounded once."""
        v = self.vector
        return self.new(
            f"call {v.type} @llvm.fma.{v.suffix}({v.type} {a}, {v.type} {b}, {v.type} {c})"
        )

    def prefetch(self, pointer: str) -> None:
        """Ask for the cache line at `pointer`; an address nobody owns is harmless."""
        self.do(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 0, i32 3, i32 1)")

    def opaque(self, pointer: str) -> str:
        """`pointer`, but LLVM can no longer tell how it was computed, nor compute it otherwise."""
        return self.new(f'call ptr asm "", "=r,0"(ptr {pointer})')

    def sum_of_lanes(self, value: str) -> str:
        """The sum over the lanes of a vector, in any order."""
        v = self.vector
        return self.new(
            f"call reassoc {v.scalar} @llvm.vector.reduce.fadd.{v.suffix}"
            f"({v.scalar} 0.0, {v.type} {value})"
        )

    def first_lanes(self, count: str) -> str:
        """The mask of the first `count` (i64) lanes."""
        v = self.vector
        kind = v.index
        narrow = count if kind == "i64" else self.new(f"trunc i64 {count} to {kind}")
        lanes = ", ".join(f"{kind} {lane}" for lane in range(v.lanes))
        limit = self.splat(narrow, kind)
        return self.new(f"icmp slt <{v.lanes} x {kind}> <{lanes}>, {limit}")

    def loop(self, trips: str, start: Values, body: Callable[[Values], Values]) -> Values:
        """What is carried out of `trips` (i64, may be 0) executions of `body`."""
        top, done = self._fresh("loop"), self._fresh("done")
        before = self._block
        some = self.new(f"icmp ne i64 {trips}, 0")
        self.do(f"br i1 {some}, label %{top}, label %{done}")
        carried = {key: (kind, self._fresh("%c")) for key, (kind, _) in start.items()}
        left, next_left = self._fresh("%n"), self._fresh("%n")
        outside, self._lines, self._block = self._lines, [], top
        after = body(carried)
        inside, self._lines, bottom = self._lines, outside, self._block
        self._lines.append(f"{top}:")
        self._phi(left, "i64", trips, before, next_left, bottom)
        for key, (kind, name) in carried.items():
            self._phi(name, kind, start[key][1], before, after[key][1], bottom)
        self._lines += inside
        self.do(f"{next_left} = sub i64 {left}, 1")
        more = self.new(f"icmp ne i64 {next_left}, 0")
        self.do(f"br i1 {more}, label %{top}, label %{done}")
        self.begin(done)
        out = {key: (kind, self._fresh("%r")) for key, (kind, _) in start.items()}
        for key, (kind, name) in out.items():
            self._phi(name, kind, start[key][1], before, after[key][1], bottom)
        return out

    def rest(
        self, count: str, start: Values, body: Callable[[str], Callable[[Values], Values]]
    ) -> Values:
        """What is carried out of `body(mask)` for what `count` (i64) leaves of whole vectors."""
        lanes = self.new(f"urem i64 {count}, {self.vector.lanes}")
        once = self.new(f"zext i1 {self.new(f'icmp ne i64 {lanes}, 0')} to i64")
        return self.loop(once, start, body(self.first_lanes(lanes)))

    def either(self, condition: str, yes: Callable[[], None], no: Callable[[], None]) -> None:
        """Execute `yes` or `no`; neither hands a value on."""
        labels = [self._fresh("yes"), self._fresh("no"), self._fresh("join")]
        self.do(f"br i1 {condition}, label %{labels[0]}, label %{labels[1]}")
        for label, branch in zip(labels, (yes, no), strict=False):
            self.begin(label)
            branch()
            self.do(f"br label %{labels[2]}")
        self.begin(labels[2])

    def when(self, condition: str, values: Values, body: Callable[[Values], Values]) -> Values:
        """`body(values)` where `condition` holds, else `values`."""
        before, yes, join = self._block, self._fresh("yes"), self._fresh("join")
        self.do(f"br i1 {condition}, label %{yes}, label %{join}")
        self.begin(yes)
        after = body(values)
        end = self._block
        self.do(f"br label %{join}")
        self.begin(join)
        out = {key: (kind, self._fresh("%w")) for key, (kind, _) in values.items()}
        for key, (kind, name) in out.items():
            self._phi(name, kind, values[key][1], before, after[key][1], end)
        return out

    def begin(self, label: str) -> None:
        """Start a basic block."""
        self._lines.append(f"{label}:")
        self._block = label

    def _phi(self, name: str, kind: str, a: str, a_from: str, b: str, b_from: str) -> None:
        self.do(f"{name} = phi {kind} [ {a}, %{a_from} ], [ {b}, %{b_from} ]")

    def _fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"
