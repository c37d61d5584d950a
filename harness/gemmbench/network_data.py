"""What a network is fed with: seeded inputs and weights that neither vanish nor explode.

Weights are uniform with the variance 2/k of a layer that adds k products, which keeps the size of
activations through any number of layers with ReLUs. Source: He et al. 2015, arXiv:1502.01852,
equation 10. Products have no bias here: their contract has none.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gemmbench.cheap import Cheap, parameter_shapes
from gemmbench.network_graph import Network, Node, factors
from gemmbench.operands import Array, save_operands
from gemmbench.problem import ITEMSIZE, Shape

LEARNT = {"mean": (-0.5, 0.5), "variance": (0.5, 1.5), "scale": (0.5, 1.5), "shift": (-0.5, 0.5)}
"""Ranges of what a batchnorm has learnt: every term of it matters, none dominates."""


def weight_shapes(network: Network, node: Node) -> dict[str, Shape]:
    """What a layer holds besides what it reads, by name."""
    operation = node.operation
    if isinstance(operation, Cheap):
        return parameter_shapes(operation, network.input_shapes(node))
    name = factors(operation)[1]
    return {name: operation.operand_shapes()[name]}


def save_weights(network: Network, folder: Path, seed: int) -> dict[str, dict[str, str]]:
    """Paths of .npy files by layer and name; layers without any are left out."""
    paths = {}
    for position, node in enumerate(network.nodes):
        arrays = {
            name: _weights(network, node, name, shape, seed)
            for name, shape in weight_shapes(network, node).items()
        }
        if arrays:
            paths[node.name] = save_operands(arrays, folder, f"weights-{position}")
    return paths


def save_inputs(network: Network, folder: Path, seed: int, count: int = 2) -> list[str]:
    """Paths of `count` inputs, uniform in [-1, 1)."""
    arrays = {
        f"{index}": _uniform(network.input_shape, network.dtype, (-1, 1), f"input-{index}/{seed}")
        for index in range(count)
    }
    return list(save_operands(arrays, folder, "input").values())


def needed_bytes(network: Network) -> int:
    """Memory of a pass and of its check: all buffers and weights, and float64 of a layer or two."""
    item, float64 = ITEMSIZE[network.dtype], ITEMSIZE["float64"]
    outputs = {name: int(np.prod(shape, dtype=np.int64)) for name, shape in network.shapes.items()}
    weights = {
        node.name: sum(
            int(np.prod(shape, dtype=np.int64)) for shape in weight_shapes(network, node).values()
        )
        for node in network.nodes
    }
    widest = max(
        8 * outputs[node.name]
        + 8 * sum(outputs[name] for name in node.reads)
        + 3 * weights[node.name]
        for node in network.nodes
    )
    return item * (sum(outputs.values()) + sum(weights.values())) + float64 * widest


def _weights(network: Network, node: Node, name: str, shape: Shape, seed: int) -> Array:
    operation, label = node.operation, f"{node.name}/{name}/{seed}"
    if isinstance(operation, Cheap):
        return _uniform(shape, network.dtype, LEARNT[name], label)
    limit = (6 / operation.reduction_length()) ** 0.5  # the variance of [-a, a) is a²/3
    return _uniform(shape, network.dtype, (-limit, limit), label)


def _uniform(shape: Shape, dtype: str, span: tuple[float, float], label: str) -> Array:
    digest = hashlib.sha256(label.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    array: Array = rng.random(shape, dtype=np.dtype(dtype).type)
    low, high = span
    array *= array.dtype.type(high - low)
    array += array.dtype.type(low)
    return array


Weights = Mapping[str, Mapping[str, str]]  # paths by layer and name
