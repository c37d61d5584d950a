"""Kernels between planes and lanes: N, C, H, W outside, pixels of adjacent channels inside.

      planes                                  pixels
    c0 │ 0 1 2 3 4 … │      to_lanes        0 │ c0 c1 c2 … c7 │
    c1 │ 0 1 2 3 4 … │   ─────────────→     1 │ c0 c1 c2 … c7 │   each at an offset of its own,
    …  │             │   ←─────────────     2 │ c0 c1 c2 … c7 │   read from a table
    c7 │ 0 1 2 3 4 … │      to_planes       … │               │

The table is what makes one kernel serve all: padding, a stride's phases, the order of a filter's
taps and the width of a panel of weights are nothing but other offsets. A group of planes that
fills no register is moved element by element, so that no lane beyond it is written.
"""

from collections.abc import Callable

from gemmbench_backends.numba_cpu.emit import Function, Values, Vector
from gemmbench_backends.numba_cpu.movement import transposed

_OFFSET_BYTES = 8  # of a table's entry: one i64

# What moves a block of pixels: takes pointers, and where it is not whole a mask and a count.
Block = Callable[[Values, str | None, str | None], None]


def to_lanes_name(vector: Vector) -> str:
    """The symbol of the kernel from planes to lanes."""
    return f"to_lanes_{vector.suffix}"


def to_lanes_ir(vector: Vector) -> str:
    """The module of `void name(planes, from, step, count, to, table)`.

    Lane l of the vector at to + table[i] becomes element i of plane l; planes are `step` bytes
    apart. 1 <= planes <= lanes: lanes beyond repeat the last plane. 1 <= count.
    """
    parameters = [("i64", "planes"), ("ptr noalias", "from"), ("i64", "step"), ("i64", "count"),
                  ("ptr noalias", "to"), ("ptr noalias", "table")]  # fmt: skip
    f = Function(to_lanes_name(vector), parameters, vector)
    offsets = _plane_offsets(f, vector)

    def block(state: Values, mask: str | None, left: str | None) -> None:
        source, table = state["from"][1], state["table"][1]
        planes = [f.load(f.at(source, offset), mask) for offset in offsets]
        pixels = list(enumerate(transposed(f, vector, planes)))
        # Pixels beyond the last go where it goes, before it does.
        for i, pixel in reversed(pixels):
            f.store(pixel, f.at("%to", _entry(f, table, i, left)))

    _over_pixels(f, vector, {"from": ("ptr", "%from"), "table": ("ptr", "%table")}, block)
    return f.text()


def to_planes_name(vector: Vector) -> str:
    """The symbol of the kernel from lanes to planes."""
    return f"to_planes_{vector.suffix}"


def to_planes_ir(vector: Vector) -> str:
    """The module of `void name(planes, from, count, to, step, table)`.

    Element i of plane l becomes lane l of the vector at from + table[i]; planes are `step` bytes
    apart. 1 <= planes <= lanes: lanes beyond are dropped. 1 <= count.
    """
    parameters = [("i64", "planes"), ("ptr noalias", "from"), ("i64", "count"),
                  ("ptr noalias", "to"), ("i64", "step"), ("ptr noalias", "table")]  # fmt: skip
    f = Function(to_planes_name(vector), parameters, vector)
    offsets = _plane_offsets(f, vector)

    def block(state: Values, mask: str | None, left: str | None) -> None:
        target, table = state["to"][1], state["table"][1]
        pixels = [f.load(f.at("%from", _entry(f, table, i, left))) for i in range(vector.lanes)]
        planes = transposed(f, vector, pixels)
        # Planes beyond the last are written over it, before it is.
        for offset, plane in reversed(list(zip(offsets, planes, strict=True))):
            f.store(plane, f.at(target, offset), mask)

    _over_pixels(f, vector, {"to": ("ptr", "%to"), "table": ("ptr", "%table")}, block)
    return f.text()


def to_few_lanes_name(vector: Vector, planes: int) -> str:
    """The symbol of the kernel from `planes` planes to as many lanes."""
    return f"to_{planes}_lanes_{vector.suffix}"


def to_few_lanes_ir(vector: Vector, planes: int) -> str:
    """The module of `void name(planes, from, step, count, to, table)`, like `to_lanes`.

    For planes < lanes, which only names the kernel here: no other lane is written.
    """
    parameters = [("i64", "planes"), ("ptr noalias", "from"), ("i64", "step"), ("i64", "count"),
                  ("ptr noalias", "to"), ("ptr noalias", "table")]  # fmt: skip
    f = Function(to_few_lanes_name(vector, planes), parameters, vector)
    steps = [f.new(f"mul i64 %step, {i}") if i else "0" for i in range(planes)]

    def pixel(state: Values) -> Values:
        source, table = state["from"][1], state["table"][1]
        to = f.at("%to", f.new(f"load i64, ptr {table}, align 8"))
        for i, step in enumerate(steps):
            value = f.load_scalar(f.at(source, step))
            where = f.at(to, i * vector.itemsize)
            f.do(f"store {vector.scalar} {value}, ptr {where}, align {vector.itemsize}")
        return {
            "from": ("ptr", f.at(source, vector.itemsize)),
            "table": ("ptr", f.at(table, _OFFSET_BYTES)),
        }

    f.loop("%count", {"from": ("ptr", "%from"), "table": ("ptr", "%table")}, pixel)
    return f.text()


def _over_pixels(f: Function, vector: Vector, start: Values, block: Block) -> None:
    """Whole blocks of as many pixels as lanes, then one for those left, if any.

    The last block ends with the last pixel: it does some of the one before it again, which costs
    less than masks do. Only where there are fewer pixels than lanes are they needed.
    """
    sizes = {"from": vector.itemsize, "to": vector.itemsize, "table": _OFFSET_BYTES}

    def whole(state: Values) -> Values:
        block(state, None, None)
        return {
            key: ("ptr", f.at(pointer, vector.lanes * sizes[key]))
            for key, (_, pointer) in state.items()
        }

    state = f.loop(f.new(f"udiv i64 %count, {vector.lanes}"), start, whole)
    left = f.new(f"urem i64 %count, {vector.lanes}")
    missing = f.new(f"sub i64 {left}, {vector.lanes}")
    mask = f.first_lanes(left)

    def rest(last: Values) -> Values:
        def overlapping() -> None:
            back: Values = {
                key: ("ptr", f.at(pointer, f.new(f"mul i64 {missing}, {sizes[key]}")))
                for key, (_, pointer) in last.items()
            }
            block(back, None, None)

        enough = f.new(f"icmp uge i64 %count, {vector.lanes}")
        f.either(enough, overlapping, lambda: block(last, mask, left))
        return last

    f.loop(f.new(f"zext i1 {f.new(f'icmp ne i64 {left}, 0')} to i64"), state, rest)


def _plane_offsets(f: Function, vector: Vector) -> list[str]:
    """Byte offsets of as many planes as lanes; those past the last repeat it."""
    last, offsets = f.new("sub i64 %planes, 1"), []
    for i in range(vector.lanes):
        plane = f.new(f"call i64 @llvm.umin.i64(i64 {i}, i64 {last})")
        offsets.append(f.new(f"mul i64 {plane}, %step"))
    return offsets


def _entry(f: Function, table: str, i: int, left: str | None) -> str:
    """Entry `i` of the table, or the last one of the `left` there are."""
    where: int | str = i * _OFFSET_BYTES
    if left is not None and i:
        last = f.new(f"sub i64 {left}, 1")
        at = f.new(f"call i64 @llvm.umin.i64(i64 {i}, i64 {last})")
        where = f.new(f"mul i64 {at}, {_OFFSET_BYTES}")
    return f.new(f"load i64, ptr {f.at(table, where)}, align 8")
