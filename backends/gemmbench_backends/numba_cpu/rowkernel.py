"""The row kernel: a few whole rows of C from a few whole rows of B, as LLVM IR.

                 ┌──── depth rows of B, read from end to end side by side ────┐
                 │ b0 →→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→ │
                 │ b1 →→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→→ │
                 └────────────────────────────────────────────────────────────┘
    ┌ a00 a01 ┐  ┌────────────────────────────────────────────────────────────┐
    └ a10 a11 ┘  │ c[i] += a[i][0] · b0 + a[i][1] · b1, a register at a time  │
      splats     └────────────────────────────────────────────────────────────┘

For products with hardly a row (one image through y = x·W), bound by how fast B streams from
memory: each row of B is one long stream, which is what a CPU's prefetcher follows best, while a
tile would leave it after a few lines. C is small enough to stay in cache.
"""

from dataclasses import dataclass, replace

from gemmbench_backends.numba_cpu.emit import Function, Values, Vector
from gemmbench_backends.numba_cpu.microkernel import ROWS_A_BASE


@dataclass(frozen=True, slots=True)
class RowKernel:
    """One variant: how many rows of C by how many rows of B."""

    rows: int
    depth: int
    vector: Vector

    def name(self) -> str:
        """A symbol that no other variant has."""
        return f"row_{self.rows}x{self.depth}_{self.vector.suffix}"


def rowkernel_ir(kernel: RowKernel) -> str:
    """The module of `void name(n, a, lda, b, ldb, c, ldc, scale)`.

    Strides are bytes. `scale` points at alpha and beta; C is not read where beta is 0.
    """
    parameters = [
        ("i64", "n"), ("ptr noalias", "a"), ("i64", "lda"), ("ptr noalias", "b"), ("i64", "ldb"),
        ("ptr noalias", "c"), ("i64", "ldc"), ("ptr noalias", "scale"),
    ]  # fmt: skip
    f, vector = Function(kernel.name(), parameters, kernel.vector), kernel.vector
    beta = f.load_scalar(f.at("%scale", vector.itemsize))
    splats = _splats(f, kernel)
    strides = (0, "%ldb", f.new("mul i64 %ldb, 2"), f.new("mul i64 %ldb, 3"))

    def whole_row(update: bool) -> None:
        step = Step(f, splats, strides, f.splat(beta) if update else None)
        state = f.loop(f.new(f"udiv i64 %n, {vector.lanes}"), _pointers(f, kernel), step.emit)
        f.rest("%n", state, lambda mask: replace(step, mask=mask).emit)

    overwrite = f.new(f"fcmp oeq {vector.scalar} {beta}, 0.0")
    f.either(overwrite, lambda: whole_row(False), lambda: whole_row(True))
    return f.text()


@dataclass(frozen=True, slots=True)
class Step:
    """One register of every row: the body of the loop."""

    f: Function
    splats: list[list[str]]  # alpha · a, by row of B and row of C
    strides: tuple[str | int, ...]  # from a row of B that has a pointer to those after it
    beta: str | None  # None: C is not read
    mask: str | None = None

    def emit(self, state: Values) -> Values:
        """The carried values, one register later."""
        f, kind = self.f, self.f.vector.type
        targets = [pointer for key, (_, pointer) in state.items() if key.startswith("c")]
        zero = "zeroinitializer"
        totals = [
            f.new(f"fmul {kind} {f.load(where, self.mask)}, {self.beta}") if self.beta else zero
            for where in targets
        ]
        for p, factors in enumerate(self.splats):
            base, offset = divmod(p, ROWS_A_BASE)
            b = f.load(f.at(state[f"b{base}"][1], self.strides[offset]), self.mask)
            totals = [f.fma(a, b, total) for a, total in zip(factors, totals, strict=True)]
        for where, total in zip(targets, totals, strict=True):
            f.store(total, where, self.mask)
        moved = {key: f.at(pointer, f.vector.nbytes) for key, (_, pointer) in state.items()}
        # Else LLVM gives every row a pointer of its own, more than there are registers for.
        return {key: ("ptr", f.opaque(pointer)) for key, pointer in moved.items()}


def _pointers(f: Function, kernel: RowKernel) -> Values:
    """What moves along the rows: a pointer for every few rows of B, and one for each of C."""
    state: Values = {}
    for first in range(0, kernel.depth, ROWS_A_BASE):
        offset = f.new(f"mul i64 %ldb, {first}") if first else 0
        state[f"b{first // ROWS_A_BASE}"] = ("ptr", f.at("%b", offset))
    for i in range(kernel.rows):
        state[f"c{i}"] = ("ptr", f.at("%c", f.new(f"mul i64 %ldc, {i}") if i else 0))
    return state


def _splats(f: Function, kernel: RowKernel) -> list[list[str]]:
    scalar, size = kernel.vector.scalar, kernel.vector.itemsize
    alpha = f.load_scalar("%scale")

    def scaled(i: int, p: int) -> str:
        row = f.at("%a", f.new(f"mul i64 %lda, {i}") if i else 0)
        a = f.load_scalar(f.at(row, p * size))
        return f.splat(f.new(f"fmul {scalar} {alpha}, {a}"))

    return [[scaled(i, p) for i in range(kernel.rows)] for p in range(kernel.depth)]
