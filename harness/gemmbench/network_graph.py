"""A network: layers that read each other, in an order in which each comes after what it reads.

Shapes follow from the products, which have theirs, and are checked against what each layer reads.
This module is values only; nothing here runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemmbench.cheap import (
    ELEMENTWISE,
    JOINING,
    KINDS,
    Cheap,
    cheap_from_data,
    cheap_to_data,
    volume,
)
from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.problem import (
    Gemm,
    Linear,
    Problem,
    ProblemError,
    Shape,
    problem_from_data,
    problem_to_data,
)

Operation = Problem | Cheap


class GraphError(GemmbenchError):
    """A layer that cannot be where it is; `layer` is its name, `field` the key at fault."""

    def __init__(self, layer: str, field: str, message: str) -> None:
        super().__init__(layer, field, message)  # all, or a copy of the error could not be made
        self.layer = layer
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return f"layer {self.layer!r}: {self.field}: {self.message}"


@dataclass(frozen=True, slots=True)
class Node:
    """One layer. `reads` names the layers whose outputs it reads; () is the one listed before."""

    name: str
    operation: Operation
    reads: tuple[str, ...] = ()
    count: int = 1  # how often a suite says that the network repeats it

    @property
    def cheap(self) -> bool:
        """Whether it is no product."""
        return self.operation.kind in KINDS


@dataclass(frozen=True, slots=True)
class Network:
    """Layers in an order in which they can run, each with what it reads; () is the input."""

    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]  # of each layer's output
    input_shape: Shape
    dtype: str

    def node(self, name: str) -> Node:
        """The layer of that name."""
        return next(node for node in self.nodes if node.name == name)

    def input_shapes(self, node: Node) -> list[Shape]:
        """The shapes of what `node` reads, as its readers see them."""
        return [self.shapes[name] for name in node.reads] or [self.input_shape]

    def readers(self, name: str) -> list[Node]:
        """The layers that read the layer `name`."""
        return [node for node in self.nodes if name in node.reads]

    def outputs(self) -> list[Node]:
        """The layers that nobody reads."""
        return [node for node in self.nodes if not self.readers(node.name)]

    def batch(self) -> int:
        """Images, or rows, of one pass."""
        return self.input_shape[0]

    def overwrites(self, node: Node) -> bool:
        """Whether `node` may write over what it reads, as Caffe does: nobody else reads that."""
        if node.operation.kind not in ELEMENTWISE or not node.reads:
            return False
        return len(self.readers(node.reads[0])) == 1


def network_of(nodes: Sequence[Node]) -> Network:
    """The network of `nodes`, in their order; the first reads the network's input.

    Raises GraphError for a layer that reads one which is not listed before it, repeats a name,
    stands for several, or does not fit what it reads.
    """
    placed: list[Node] = []
    shapes: dict[str, Shape] = {}
    first = _input_of(nodes[0])
    dtype = str(getattr(nodes[0].operation, "dtype", ""))
    for node in nodes:
        if node.name in shapes:
            raise GraphError(node.name, "name", "is taken by a layer before. Names are unique.")
        if node.count > 1:
            raise GraphError(
                node.name,
                "count",
                f"got {node.count}, a network lists each of its layers. "
                "Write it that often, each under a name of its own.",
            )
        reads = _reads(node, placed, shapes)
        inputs = [shapes[name] for name in reads] or [first]
        shapes[node.name] = _output_shape(node, inputs, dtype)
        placed.append(Node(node.name, node.operation, reads))
    return Network(tuple(placed), shapes, first, dtype)


def node_to_data(node: Node) -> dict[str, Any]:
    """`node` as JSON-able data."""
    operation = node.operation
    data = cheap_to_data(operation) if isinstance(operation, Cheap) else problem_to_data(operation)
    return {"name": node.name, "operation": data, "reads": list(node.reads)}


def node_from_data(data: Mapping[str, Any]) -> Node:
    """The layer that `node_to_data` wrote."""
    found = data["operation"]
    make = cheap_from_data if found["kind"] in KINDS else problem_from_data
    return Node(data["name"], make(found), tuple(data["reads"]))


def factors(problem: Problem) -> tuple[str, str]:
    """The names of the operand that a network's activations are, and of its weights."""
    return ("a", "b") if isinstance(problem, Gemm) else ("x", "w")


def shape_text(shape: Shape) -> str:
    """'10×96×55×55'."""
    return "×".join(map(str, shape))


def _input_of(node: Node) -> Shape:
    if isinstance(node.operation, Cheap):
        raise GraphError(
            node.name,
            node.operation.kind,
            "is the first layer and reads none, so its shape is not known. "
            "Begin with a conv2d, a linear or a gemm.",
        )
    return node.operation.operand_shapes()[factors(node.operation)[0]]


def _reads(node: Node, placed: Sequence[Node], shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """The names of what `node` reads, the one before where it names none."""
    reads = node.reads or tuple(before.name for before in placed[-1:])
    for name in reads:
        if name not in shapes:
            raise GraphError(
                node.name,
                "from",
                f"got {name!r}, expected a layer listed before.{did_you_mean(name, shapes)}",
            )
    joins, kind = node.operation.kind in JOINING, node.operation.kind
    if placed and joins and len(reads) < 2:
        raise GraphError(
            node.name, "from", f"reads {reads[0]!r} alone, expected two layers or more to {kind}."
        )
    if not joins and len(reads) > 1:
        raise GraphError(
            node.name, "from", f"reads {len(reads)} layers, a {kind} reads one. Join them first."
        )
    return reads


def _output_shape(node: Node, inputs: Sequence[Shape], dtype: str) -> Shape:
    operation = node.operation
    if isinstance(operation, Cheap):
        try:
            return operation.output_shape(inputs)
        except ProblemError as error:
            raise GraphError(node.name, error.field, error.message) from error
    if operation.dtype != dtype:
        raise GraphError(
            node.name, "dtype", f"got {operation.dtype}, the network begins in {dtype}."
        )
    expected = operation.operand_shapes()[factors(operation)[0]]
    given = inputs[0]
    if isinstance(operation, Linear):  # as Caffe's: an image is one row of its pixels
        given = (given[0], volume(given[1:]))
    if given != expected:
        raise GraphError(
            node.name,
            "from",
            f"reads {shape_text(inputs[0])}, its own shape asks for {shape_text(expected)}.",
        )
    return operation.output_shape()
