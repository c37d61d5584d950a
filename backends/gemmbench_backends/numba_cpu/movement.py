"""Kernels that only move elements, as LLVM IR: transposing, padding, gathering image rows.

They stand apart from the micro-kernels so that the loops around both need not know the dtype:
those loops handle addresses and byte counts only.
"""

from gemmbench_backends.numba_cpu.emit import Function, Values, Vector

PIECE_FIELDS = 3  # i64 each: byte offset in the image, in the row of the panel; lanes


def transpose_name(vector: Vector, spills: bool) -> str:
    """The symbol of the transposing kernel."""
    return f"transpose_{vector.suffix}{'_spills' if spills else ''}"


def transpose_ir(vector: Vector, spills: bool) -> str:
    """The module of `void name(rows, columns, from, ld_from, to, ld_to)`: to[j][i] = from[i][j].

    1 <= rows <= lanes; strides are bytes. Nothing outside of the first matrix is read. If it
    `spills`, whole registers are written, so what lies behind each row of the second must be
    written later; else nothing outside of that is.
    """
    parameters = [("i64", "rows"), ("i64", "columns"), ("ptr noalias", "from"),
                  ("i64", "ld_from"), ("ptr noalias", "to"), ("i64", "ld_to")]  # fmt: skip
    f = Function(transpose_name(vector, spills), parameters, vector)
    sources = _row_offsets(f, vector)
    blocks = f.new(f"udiv i64 %columns, {vector.lanes}")
    full = f.new(f"icmp eq i64 %rows, {vector.lanes}")
    mask = f.first_lanes("%rows")

    def block(state: Values) -> Values:
        source, target = state["from"][1], state["to"][1]
        columns = transposed(f, vector, [f.load(f.at(source, offset)) for offset in sources])

        def store(exact: bool) -> None:
            where = target
            for column in columns:
                if exact:
                    f.store_lanes(column, where, "%rows", mask)
                else:
                    f.store(column, where)
                where = f.at(where, "%ld_to")

        if spills:
            store(exact=False)
        else:
            f.either(full, lambda: store(exact=False), lambda: store(exact=True))
        down = f.new(f"mul i64 %ld_to, {vector.lanes}")
        return {
            "from": ("ptr", f.at(source, vector.nbytes)),
            "to": ("ptr", f.at(target, down)),
        }

    state = f.loop(blocks, {"from": ("ptr", "%from"), "to": ("ptr", "%to")}, block)
    _transpose_rest(f, vector, state)
    return f.text()


def gather_name(vector: Vector, spills: bool) -> str:
    """The symbol of the gathering kernel."""
    return f"gather_{vector.suffix}{'_spills' if spills else ''}"


def gather_ir(vector: Vector, spills: bool) -> str:
    """The module of `void name(rows, image, offsets, pieces, count, panel, ld_panel)`.

    Row r of the panel is the `count` pieces of the image that start `offsets[r]` bytes into it, in
    the order of their places in the row. A piece is at most a register of adjacent pixels and has
    PIECE_FIELDS numbers. This is im2col, for any part of the column matrix. If it `spills`, whole
    registers are written: up to one behind the panel, which must be free or written later.
    """
    parameters = [("i64", "rows"), ("ptr noalias", "image"), ("ptr noalias", "offsets"),
                  ("ptr noalias", "pieces"), ("i64", "count"), ("ptr noalias", "panel"),
                  ("i64", "ld_panel")]  # fmt: skip
    f = Function(gather_name(vector, spills), parameters, vector)

    def row(state: Values) -> Values:
        offsets, panel = state["offsets"][1], state["panel"][1]
        source = f.at("%image", f.new(f"load i64, ptr {offsets}, align 8"))

        def piece(inner: Values) -> Values:
            fields = inner["pieces"][1]
            start, to, lanes = (
                f.new(f"load i64, ptr {f.at(fields, 8 * i)}, align 8") for i in range(PIECE_FIELDS)
            )
            mask = f.first_lanes(lanes)
            value, where = f.load(f.at(source, start), mask), f.at(panel, to)
            if spills:
                f.store(value, where)
            else:
                whole = f.new(f"icmp eq i64 {lanes}, {vector.lanes}")
                f.either(
                    whole,
                    lambda: f.store(value, where),
                    lambda: f.store_lanes(value, where, lanes, mask),
                )
            return {"pieces": ("ptr", f.at(fields, 8 * PIECE_FIELDS))}

        f.loop("%count", {"pieces": ("ptr", "%pieces")}, piece)
        return {"offsets": ("ptr", f.at(offsets, 8)), "panel": ("ptr", f.at(panel, "%ld_panel"))}

    f.loop("%rows", {"offsets": ("ptr", "%offsets"), "panel": ("ptr", "%panel")}, row)
    return f.text()


def pad_name(vector: Vector) -> str:
    """The symbol of the padding kernel."""
    return f"pad_{vector.suffix}"


def pad_ir(vector: Vector) -> str:
    """The module of `void name(to, left, from, step, count, right)`: one row of a padded image.

    `left` zeros, then `count` elements of `from`, `step` bytes apart, then `right` zeros.
    """
    parameters = [("ptr noalias", "to"), ("i64", "left"), ("ptr noalias", "from"), ("i64", "step"),
                  ("i64", "count"), ("i64", "right")]  # fmt: skip
    f = Function(pad_name(vector), parameters, vector)
    size, kind = vector.itemsize, vector.scalar

    def zeros(count: str, to: str) -> str:
        def one(state: Values) -> Values:
            f.do(f"store {kind} 0.0, ptr {state['to'][1]}, align {size}")
            return {"to": ("ptr", f.at(state["to"][1], size))}

        return f.loop(count, {"to": ("ptr", to)}, one)["to"][1]

    def apart() -> None:
        def one(state: Values) -> Values:
            value = f.load_scalar(state["from"][1])
            f.do(f"store {kind} {value}, ptr {state['to'][1]}, align {size}")
            return {
                "from": ("ptr", f.at(state["from"][1], "%step")),
                "to": ("ptr", f.at(state["to"][1], size)),
            }

        f.loop("%count", {"from": ("ptr", "%from"), "to": ("ptr", middle)}, one)

    def adjacent() -> None:
        whole = f.new(f"udiv i64 %count, {vector.lanes}")
        _copy(f, middle, "%from", whole, f.new(f"urem i64 %count, {vector.lanes}"))

    middle = zeros("%left", "%to")
    f.either(f.new(f"icmp eq i64 %step, {size}"), adjacent, apart)
    zeros("%right", f.at(middle, f.new(f"mul i64 %count, {size}")))
    return f.text()


def _copy(f: Function, to: str, source: str, whole: str, lanes: str) -> None:
    """Copy `whole` vectors and then `lanes` elements."""

    def one(state: Values) -> Values:
        f.store(f.load(state["from"][1]), state["to"][1])
        return {key: ("ptr", f.at(where, f.vector.nbytes)) for key, (_, where) in state.items()}

    end = f.loop(whole, {"from": ("ptr", source), "to": ("ptr", to)}, one)
    mask = f.first_lanes(lanes)
    f.store_lanes(f.load(end["from"][1], mask), end["to"][1], lanes, mask)


def _row_offsets(f: Function, vector: Vector) -> list[str]:
    """Byte offsets of `lanes` rows; those past the last row repeat it, so all may be read."""
    last = f.new("sub i64 %rows, 1")
    offsets = []
    for i in range(vector.lanes):
        inside = f.new(f"icmp ult i64 {i}, %rows")
        row = f.new(f"select i1 {inside}, i64 {i}, i64 {last}")
        offsets.append(f.new(f"mul i64 {row}, %ld_from"))
    return offsets


def transposed(f: Function, vector: Vector, rows: list[str]) -> list[str]:
    """The columns of a lanes × lanes matrix given by rows, in log2(lanes) passes.

    Pass s swaps the off-diagonal quarters of every 2s × 2s block.
    """
    lanes, columns, span = vector.lanes, list(rows), 1
    while span < lanes:
        for i in (i for i in range(lanes) if not i & span):
            a, b = columns[i], columns[i + span]
            upper = [at if not at & span else lanes + at - span for at in range(lanes)]
            lower = [at + span if not at & span else lanes + at for at in range(lanes)]
            columns[i], columns[i + span] = f.shuffle(a, b, upper), f.shuffle(a, b, lower)
        span *= 2
    return columns


def _transpose_rest(f: Function, vector: Vector, start: Values) -> None:
    """The columns that do not fill a block, one element at a time."""

    def column(state: Values) -> Values:
        def element(inner: Values) -> Values:
            value = f.load_scalar(inner["from"][1])
            f.do(f"store {vector.scalar} {value}, ptr {inner['to'][1]}, align {vector.itemsize}")
            return {
                "from": ("ptr", f.at(inner["from"][1], "%ld_from")),
                "to": ("ptr", f.at(inner["to"][1], vector.itemsize)),
            }

        f.loop("%rows", state, element)
        return {
            "from": ("ptr", f.at(state["from"][1], vector.itemsize)),
            "to": ("ptr", f.at(state["to"][1], "%ld_to")),
        }

    f.loop(f.new(f"urem i64 %columns, {vector.lanes}"), start, column)
