"""The kernel of C's lone column: rows of A times one column of B, as LLVM IR.

               k, a register at a time                  column of B, contiguous
              ┌────────┬────────┬────────┬─ …           ┌────────┬────────┬────────┬─ …
    rows      │ s0     │ s1     │ s0     │          ·   │        │        │        │
    of A      │ s2     │ s3     │ s2     │              └────────┴────────┴────────┴─ …
              └────────┴────────┴────────┴─ …           s: partial sums, CHAINS in all

Where whole registers leave a single column of C, a register for it would waste all lanes but one;
here no lane is lost. Rows come in groups of 4, 2 and 1, and the fewer they are, the more partial
sums does each have: an FMA waits for the one before it in its chain, so there have to be enough.
One kernel serves every register block of a dtype.
"""

from collections.abc import Callable

from gemmbench_backends.numba_cpu.emit import Function, Values, Vector

GROUPS = (4, 2, 1)  # rows at a time
CHAINS = 8  # an FMA takes four cycles, and two begin in each

Body = Callable[[Values], Values]  # of a loop


def column_name(vector: Vector) -> str:
    """The symbol of the kernel."""
    return f"column_{vector.suffix}"


def column_ir(vector: Vector) -> str:
    """The module of `void name(rows, k, a, lda, b, c, ldc, scale)`: c = alpha·A·b + beta·c.

    Strides are bytes; b is contiguous. `scale` points at alpha and beta; where beta is 0, c is not
    read.
    """
    parameters = [("i64", "rows"), ("i64", "k"), ("ptr noalias", "a"), ("i64", "lda"),
                  ("ptr noalias", "b"), ("ptr noalias", "c"), ("i64", "ldc"),
                  ("ptr noalias", "scale")]  # fmt: skip
    f = Function(column_name(vector), parameters, vector)
    at: Values = {"a": ("ptr", "%a"), "c": ("ptr", "%c")}
    rows = "%rows"
    for size in GROUPS:
        at = f.loop(f.new(f"udiv i64 {rows}, {size}"), at, _group(f, size))
        rows = f.new(f"urem i64 {rows}, {size}")
    return f.text()


def _group(f: Function, rows: int) -> Body:
    """The body of the loop over groups of `rows` rows."""
    vector, turns = f.vector, CHAINS // rows

    def group(at: Values) -> Values:
        sources, targets = [at["a"][1]], [at["c"][1]]
        for _ in range(rows):
            sources.append(f.at(sources[-1], "%lda"))
            targets.append(f.at(targets[-1], "%ldc"))
        own, chunk = sources[:rows], turns * vector.lanes
        zero = (vector.type, "zeroinitializer")
        state = {f"s{i}.{turn}": zero for i in range(rows) for turn in range(turns)}
        state["at"] = ("i64", "0")
        state = f.loop(f.new(f"udiv i64 %k, {chunk}"), state, _steps(f, own, turns))
        left = f.new(f"urem i64 %k, {chunk}")
        state = f.loop(f.new(f"udiv i64 {left}, {vector.lanes}"), state, _steps(f, own, 1))
        state = f.rest("%k", state, lambda mask: _steps(f, own, 1, mask))
        for i in range(rows):
            _update_c(f, [state[f"s{i}.{turn}"][1] for turn in range(turns)], targets[i])
        return {"a": ("ptr", sources[rows]), "c": ("ptr", targets[rows])}

    return group


def _steps(f: Function, sources: list[str], count: int, mask: str | None = None) -> Body:
    """`count` registers along k of each of the rows at `sources`, each for a sum of its own."""

    def steps(state: Values) -> Values:
        state = dict(state)
        for turn in range(count):
            b = f.load(f.at("%b", state["at"][1]), mask)
            for i, source in enumerate(sources):
                a = f.load(f.at(source, state["at"][1]), mask)
                kind, total = state[f"s{i}.{turn}"]
                state[f"s{i}.{turn}"] = (kind, f.fma(a, b, total))
            state["at"] = ("i64", f.new(f"add i64 {state['at'][1]}, {f.vector.nbytes}"))
        return state

    return steps


def _update_c(f: Function, sums: list[str], c: str) -> None:
    """One element of C from its partial sums."""
    scalar, kind = f.vector.scalar, f.vector.type
    total = sums[0]
    for other in sums[1:]:
        total = f.new(f"fadd {kind} {total}, {other}")
    dot = f.sum_of_lanes(total)
    alpha, beta = f.load_scalar("%scale"), f.load_scalar(f.at("%scale", f.vector.itemsize))
    overwrite = f.new(f"fcmp oeq {scalar} {beta}, 0.0")
    # Where beta is 0, a 0 of the scales is read in C's place.
    old = f.load_scalar(
        f.new(f"select i1 {overwrite}, ptr {f.at('%scale', f.vector.itemsize)}, ptr {c}")
    )
    scaled = f.new(f"fmul {scalar} {old}, {beta}")
    new = f.new(f"fadd {scalar} {f.new(f'fmul {scalar} {dot}, {alpha}')}, {scaled}")
    f.do(f"store {scalar} {new}, ptr {c}, align {f.vector.itemsize}")
