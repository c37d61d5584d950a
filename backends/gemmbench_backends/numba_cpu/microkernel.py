"""The micro-kernel: a register block of C, updated by k rank-1 products, as LLVM IR.

                       vectors × lanes columns
                     ┌────────┬────────┬────────┐
      row p of B  →  │   b0   │   b1   │   b2   │   one load each per step p
                     └────────┴────────┴────────┘
    column p of A    ┌────────┬────────┬────────┐
      ┌────┐         │ c00    │ c01    │ c02    │
      │ a0 │ splat → │ c10    │ c11    │ c12    │   rows × vectors accumulators, each
      │ a1 │         │  …     │  …     │  …     │   one register for all of k:
      │ …  │         │        │        │        │   c[i][j] += a[i] · b[j]
      └────┘         └────────┴────────┴────────┘

C is touched once, after the k loop: C = beta·C + alpha·acc, and not read where beta is 0. One call
computes a run of equal tiles, down a column of them or along a row: the loops around the kernel
would else cost as much as twenty steps along k for each. A comes
by rows (row-major in place) or by columns (packed panels, or a transposed matrix in place); B
always by rows, packed or in place, which only its stride tells apart. Every vector is whole: where
the last of a matrix is not, B is packed, and the block written to a scratch, from which edge.py
brings the valid lanes to C. A kernel that *stores the
panel* writes each row of B it reads to a packed panel, so that packing costs no pass of its own;
with no rows it does nothing else and is the packing kernel. A kernel that *asks ahead* fetches, a
line each trip, what a later one will read: spread over a block's tiles, the traffic of the next
panel hides behind arithmetic, where the one kernel that stores the panel would wait for it.

Source: Goto & van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication" (the inner
kernel); Van Zee & van de Geijn 2015, "BLIS: A Framework for Rapidly Instantiating BLAS
Functionality" (the micro-kernel as the one thing to write for a new machine).
"""

from dataclasses import dataclass

from gemmbench_backends.numba_cpu.emit import Function, Values, Vector

# alpha and beta of the first block along k, then of the others, then of a block in a scratch
SCALE_ELEMENTS = 6
ROWS_A_BASE = 4  # x86 adds index·{1,2} to a base, so one base and lda, 2·lda, 3·lda reach 4 rows


@dataclass(frozen=True, slots=True)
class MicroKernel:
    """One variant: its register block and how it meets A and B."""

    rows: int
    vectors: int
    vector: Vector
    unroll: int = 1
    a_by_columns: bool = False
    b_tail: bool = False  # packing only: the last vector has lanes that must not be read
    stores_panel: bool = False
    asks_ahead: bool = False
    scales: bool = False  # by any alpha and beta; else alpha is 1 and beta 0 or 1
    any_k: bool = True  # else k is a multiple of the unrolling, and the loop for the rest left out

    def name(self) -> str:
        """A symbol that no other variant has."""
        flags = (
            (self.a_by_columns, "cols"),
            (self.b_tail, "btail"),
            (self.stores_panel, "panel"),
            (self.asks_ahead, "ahead"),
            (self.scales, "scaled"),
            (self.unroll > 1 and not self.any_k, "even"),
        )
        parts = [f"tile_{self.rows}x{self.vectors}", self.vector.suffix, f"u{self.unroll}"]
        return "_".join(parts + [label for on, label in flags if on])


def microkernel_ir(kernel: MicroKernel) -> str:
    """The module of `void name(k, a, lda, b, ldb, c, ldc, panel, tail, scale, ahead, step, run…)`.

    Strides are bytes, pointers need no alignment. `tail`: lanes of the last vector of B that exist,
    where not all do. `scale` points at alpha and beta; SCALE_ELEMENTS on lies a row of zeros.
    `ahead`, `step`: the line that the first trip asks for, and how far apart the others' are. The
    run is `tiles`, `a_step`, `b_step`, `c_step`: how many tiles, and how far apart their operands
    lie. A kernel that stores the panel computes one tile.
    """
    parameters = [
        ("i64", "k"), ("ptr noalias", "a"), ("i64", "lda"), ("ptr noalias", "b"), ("i64", "ldb"),
        ("ptr noalias", "c"), ("i64", "ldc"), ("ptr noalias", "panel"), ("i64", "tail"),
        ("ptr noalias", "scale"), ("ptr", "ahead"), ("i64", "step"),
        ("i64", "tiles"), ("i64", "a_step"), ("i64", "b_step"), ("i64", "c_step"),
    ]  # fmt: skip
    f = Function(kernel.name(), parameters, kernel.vector)
    mask = f.first_lanes("%tail") if kernel.b_tail else None
    a_strides = _multiples_of_lda(f, kernel)
    trips = f.new(f"udiv i64 %k, {kernel.unroll}")
    left = f.new(f"urem i64 %k, {kernel.unroll}") if kernel.unroll > 1 and kernel.any_k else None

    def steps(count: int) -> "Step":
        return Step(f, kernel, count, mask, a_strides)

    def tile(at: Values) -> Values:
        state = f.loop(trips, _start(f, kernel, at), steps(kernel.unroll).emit)
        asked = {key: state[key] for key in at if key == "ahead"}
        if left is not None:
            state = f.loop(left, state, steps(1).emit)
        if kernel.rows:
            _update_c(f, kernel, state, at["c"][1])
        return {key: ("ptr", f.at(at[key][1], f"%{key}_step")) for key in ("a", "b", "c")} | asked

    run: Values = {key: ("ptr", f"%{key}") for key in ("a", "b", "c")}
    if kernel.asks_ahead:
        run["ahead"] = ("ptr", "%ahead")
    if kernel.stores_panel:
        tile(run)
    else:
        f.loop("%tiles", run, tile)
    return f.text()


def _start(f: Function, kernel: MicroKernel, at: Values) -> Values:
    """What the loop along k carries when a tile begins: pointers, and accumulators of zero."""
    state: Values = {"b": at["b"]} | _a_bases(f, kernel, at["a"][1])
    if kernel.stores_panel:
        state["panel"] = ("ptr", "%panel")
    if kernel.asks_ahead:
        state["ahead"] = at["ahead"]
    zero = (kernel.vector.type, "zeroinitializer")
    return state | {_acc(i, j): zero for i in range(kernel.rows) for j in range(kernel.vectors)}


@dataclass(frozen=True, slots=True)
class Step:
    """`count` rank-1 updates of the register block: the body of the k loop."""

    f: Function
    kernel: MicroKernel
    count: int
    b_mask: str | None
    a_strides: tuple[str | int, ...]

    def emit(self, state: Values) -> Values:
        """The carried values, `count` steps later."""
        state = dict(state)
        if self.kernel.asks_ahead:
            self.f.prefetch(state["ahead"][1])
            state["ahead"] = ("ptr", self.f.at(state["ahead"][1], "%step"))
        for step in range(self.count):
            row = self._row_of_b(state)
            if self.kernel.stores_panel:
                self._store_panel(state, row)
            for i in range(self.kernel.rows):
                a = self.f.splat(self.f.load_scalar(self._element_of_a(state, i, step)))
                for j, b in enumerate(row):
                    kind, acc = state[_acc(i, j)]
                    state[_acc(i, j)] = (kind, self.f.fma(a, b, acc))
            state["b"] = ("ptr", self.f.at(state["b"][1], "%ldb"))
            if self.kernel.a_by_columns and self.kernel.rows:
                state["a0"] = ("ptr", self.f.at(state["a0"][1], "%lda"))
        if not self.kernel.a_by_columns:
            for key in [key for key in state if key.startswith("a") and key[1:].isdigit()]:
                moved = self.f.at(state[key][1], self.count * self.kernel.vector.itemsize)
                # Else LLVM makes all rows one chain of additions, hoists their loads, and spills.
                state[key] = ("ptr", self.f.opaque(moved))
        return state

    def _row_of_b(self, state: Values) -> list[str]:
        last = self.kernel.vectors - 1
        return [
            self.f.load(
                self.f.at(state["b"][1], j * self.kernel.vector.nbytes),
                self.b_mask if j == last else None,
            )
            for j in range(self.kernel.vectors)
        ]

    def _store_panel(self, state: Values, row: list[str]) -> None:
        """Write the row to the panel; ask for the same row of the next one, if no one else does."""
        width = self.kernel.vectors * self.kernel.vector.nbytes
        panel = state["panel"][1]
        for j, b in enumerate(row):
            self.f.store(b, self.f.at(panel, j * self.kernel.vector.nbytes))
        for line in range(0, 0 if self.kernel.asks_ahead else width, 64):
            self.f.prefetch(self.f.at(state["b"][1], width + line))
        state["panel"] = ("ptr", self.f.at(panel, width))

    def _element_of_a(self, state: Values, row: int, step: int) -> str:
        size = self.kernel.vector.itemsize
        if self.kernel.a_by_columns:
            return self.f.at(state["a0"][1], row * size)
        base, offset = divmod(row, ROWS_A_BASE)
        return self.f.at(self.f.at(state[f"a{base}"][1], self.a_strides[offset]), step * size)


def _acc(i: int, j: int) -> str:
    return f"c{i}.{j}"


def _multiples_of_lda(f: Function, kernel: MicroKernel) -> tuple[str | int, ...]:
    if kernel.a_by_columns or not kernel.rows:
        return ()
    return (0, "%lda", f.new("mul i64 %lda, 2"), f.new("mul i64 %lda, 3"))


def _a_bases(f: Function, kernel: MicroKernel, a: str) -> Values:
    """Pointers into A that move along k: one, or one for every four rows."""
    bases: Values = {}
    if kernel.a_by_columns:
        return {"a0": ("ptr", a)} if kernel.rows else {}
    for first in range(0, kernel.rows, ROWS_A_BASE):
        offset = f.new(f"mul i64 %lda, {first}") if first else 0
        bases[f"a{first // ROWS_A_BASE}"] = ("ptr", f.at(a, offset))
    return bases


def _update_c(f: Function, kernel: MicroKernel, state: Values, c: str) -> None:
    """C = alpha·acc + beta·C, where beta·C is read from a row of zeros if beta is 0.

    Two branches would be half of the kernel's code, and compile as long as its loops.
    """
    kind, size = kernel.vector.type, kernel.vector.itemsize
    alpha, beta = f.load_scalar("%scale"), f.load_scalar(f.at("%scale", size))
    overwrite = f.new(f"fcmp oeq {kernel.vector.scalar} {beta}, 0.0")
    zeros = f.at("%scale", SCALE_ELEMENTS * size)
    old_row = f.new(f"select i1 {overwrite}, ptr {zeros}, ptr {c}")
    old_ld = f.new(f"select i1 {overwrite}, i64 0, i64 %ldc")
    factors = (f.splat(alpha), f.splat(beta)) if kernel.scales else None
    row = c
    for i in range(kernel.rows):
        for j in range(kernel.vectors):
            old = f.load(f.at(old_row, j * kernel.vector.nbytes))
            acc = state[_acc(i, j)][1]
            if factors:
                total = f.fma(acc, factors[0], f.new(f"fmul {kind} {old}, {factors[1]}"))
            else:
                total = f.new(f"fadd {kind} {acc}, {old}")
            f.store(total, f.at(row, j * kernel.vector.nbytes))
        row, old_row = f.at(row, "%ldc"), f.at(old_row, old_ld)
