"""Rules between axes as text, such as "mr * nv <= 24 and kc % ku == 0", for space files.

The text is parsed by `ast` and turned, node by node, into functions over whole columns of values;
what is not listed here is refused, nothing is ever handed to `eval`. `and`, `or` and `if` look at
their later operands only where they decide, as in Python, so "ku == 0 or kc % ku == 0" is safe;
`and` and `or` give true or false, not one of their operands.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.space import Constraint, Value

MAX_CHARACTERS = 500
MAX_NODES = 200
LARGEST = 2**62  # of a product or a sum: beyond it 64-bit integers wrap around

Column = NDArray[Any]
Table = Mapping[str, Column]
Node = Callable[[Table, int], Column]  # the values of a node for each of so many configs

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.remainder,
}
_DIVISIONS = (ast.Div, ast.FloorDiv, ast.Mod)
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}
_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {"min": np.minimum, "max": np.maximum}
ALLOWED = "numbers, 'text', axis names, + - * / // %, comparisons, in, and, or, not, if, min, max"


class _RefusedError(Exception):
    """What the text holds that a rule may not."""


def parse_rule(text: str, axes: Mapping[str, Sequence[Value]], where: str) -> Constraint:
    """The constraint that `text` says over the axes that it names; its name is the text.

    Raises GemmbenchError, one line that begins with `where`, for what is no rule.
    """
    try:
        if len(text) > MAX_CHARACTERS:
            raise _RefusedError(f"a rule has at most {MAX_CHARACTERS} characters")
        tree = ast.parse(text.strip(), mode="eval").body
        nodes = list(ast.walk(tree))
        if len(nodes) > MAX_NODES:
            raise _RefusedError(f"a rule has at most {MAX_NODES} parts")
        rule = _node(tree, axes)
    except SyntaxError as error:
        at = f" at character {error.offset}" if error.offset else ""
        raise GemmbenchError(f"{where}: got {_cut(text)}, which is no expression{at}.") from error
    except (_RefusedError, RecursionError, ValueError) as error:
        raise GemmbenchError(f"{where}: got {_cut(text)}: {error}. Allowed: {ALLOWED}.") from error
    read = {node.id for node in nodes if isinstance(node, ast.Name)} & set(axes)
    if not read:
        raise GemmbenchError(f"{where}: got {_cut(text)}, which reads no axis.")
    names = tuple(name for name in axes if name in read)

    def holds_all(*columns: Column) -> NDArray[np.bool_]:
        table = dict(zip(names, columns, strict=True))
        try:
            return _truth(rule(table, len(columns[0])))
        except (_RefusedError, TypeError) as error:
            reason = error if isinstance(error, _RefusedError) else "it mixes text and numbers"
            raise GemmbenchError(f"{where}: {_cut(text)}: {reason}.") from error

    def holds(*values: Value) -> bool:
        return bool(holds_all(*(np.array([value]) for value in values))[0])

    return Constraint(" ".join(text.split()), names, holds, holds_all)


def _node(node: ast.expr, axes: Mapping[str, Any]) -> Node:
    """The function that computes `node`. Raises _RefusedError for what is not allowed."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            if not isinstance(value, str) and not abs(value) < LARGEST:
                raise _RefusedError(f"{value!r} is too large")
            return lambda _, n: np.full(n, value)
        case ast.Name(id=name):
            if name not in axes:
                raise _RefusedError(
                    f"{name!r} is no axis.{did_you_mean(name, axes)}".removesuffix(".")
                )
            return lambda table, _: table[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _arithmetic(op, _node(left, axes), _node(right, axes))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _node(operand, axes)
            return lambda table, n: ~_truth(inner(table, n))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _node(operand, axes)
            return lambda table, n: np.negative(_numbers(inner(table, n)))
        case ast.BoolOp(op=op, values=values):
            return _connective(isinstance(op, ast.And), [_node(value, axes) for value in values])
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            return _comparison([left, *comparators], ops, axes)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _choice(_node(test, axes), _node(body, axes), _node(orelse, axes))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            if len(args) < 2 or any(isinstance(arg, ast.Starred) for arg in args):
                raise _RefusedError(f"{name}() takes two or more values")
            return _extreme(_FUNCTIONS[name], [_node(arg, axes) for arg in args])
    raise _RefusedError(f"{ast.unparse(node)!r} is not allowed")


def _arithmetic(op: ast.operator, left: Node, right: Node) -> Node:
    compute, divides = _ARITHMETIC[type(op)], isinstance(op, _DIVISIONS)

    def node(table: Table, n: int) -> Column:
        a, b = _numbers(left(table, n)), _numbers(right(table, n))
        if divides and not np.all(b):
            raise _RefusedError("it divides by zero. Guard it, as in 'x == 0 or y % x == 0'")
        if not divides and np.any(np.abs(compute(a.astype(np.float64), b)) >= LARGEST):
            raise _RefusedError("its numbers grow too large")
        result: Column = compute(a, b)
        return result

    return node


def _connective(every: bool, parts: Sequence[Node]) -> Node:
    """`and` where `every`, else `or`; each part is asked only where it still matters."""

    def node(table: Table, n: int) -> Column:
        answer = np.full(n, every)
        for part in parts:
            undecided = np.flatnonzero(answer == every)
            answer[undecided] = _truth(part(_only(table, undecided), len(undecided)))
        return answer

    return node


def _choice(test: Node, body: Node, orelse: Node) -> Node:
    def node(table: Table, n: int) -> Column:
        chosen = _truth(test(table, n))
        parts = [np.flatnonzero(chosen), np.flatnonzero(~chosen)]
        values = [
            part(_only(table, at), len(at)) for part, at in zip((body, orelse), parts, strict=True)
        ]
        answer = np.empty(n, np.result_type(*values))
        for at, own in zip(parts, values, strict=True):
            answer[at] = own
        return answer

    return node


def _comparison(
    operands: Sequence[ast.expr], ops: Sequence[ast.cmpop], axes: Mapping[str, Any]
) -> Node:
    """A chain such as 1 < mr <= nv, or membership in a list of constants or axes."""
    links = []
    for left, op, right in zip(operands, ops, operands[1:], strict=False):
        if isinstance(op, ast.In | ast.NotIn):
            links.append(_membership(left, right, axes, isinstance(op, ast.In)))
        elif type(op) in _COMPARISONS:
            links.append(_link(_COMPARISONS[type(op)], _node(left, axes), _node(right, axes)))
        else:
            raise _RefusedError("'is' is not allowed")
    return _connective(True, links)


def _link(compare: Callable[[Any, Any], Any], left: Node, right: Node) -> Node:
    def node(table: Table, n: int) -> Column:
        a, b = left(table, n), right(table, n)
        if (a.dtype.kind in "US") != (b.dtype.kind in "US"):
            raise TypeError
        answer: Column = compare(a, b)
        return answer

    return node


def _membership(left: ast.expr, right: ast.expr, axes: Mapping[str, Any], inside: bool) -> Node:
    if not isinstance(right, ast.List | ast.Tuple | ast.Set) or not right.elts:
        raise _RefusedError("'in' is followed by a list, such as [1, 2, 4]")
    value = _node(left, axes)
    equals = [_link(_COMPARISONS[ast.Eq], value, _node(item, axes)) for item in right.elts]
    among = _connective(False, equals)
    return among if inside else lambda table, n: ~among(table, n)


def _extreme(pick: Callable[[Any, Any], Any], parts: Sequence[Node]) -> Node:
    def node(table: Table, n: int) -> Column:
        answer = _numbers(parts[0](table, n))
        for part in parts[1:]:
            answer = pick(answer, _numbers(part(table, n)))
        return answer

    return node


def _numbers(column: Column) -> Column:
    if column.dtype.kind in "US":
        raise TypeError
    return column.astype(np.int64) if column.dtype.kind == "b" else column


def _truth(column: Column) -> NDArray[np.bool_]:
    return _numbers(column).astype(np.bool_)


def _only(table: Table, at: NDArray[np.intp]) -> Table:
    return {name: column[at] for name, column in table.items()}


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 80 else line[:80] + "…")
