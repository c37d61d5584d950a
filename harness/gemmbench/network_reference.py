"""Whether a pass is right: each layer on what it really received, and the whole against float64.

Two checks a layer. **Local**: what it wrote, against the float64 answer on the very float32 inputs
that it read, within the bounds of reference.py; a wrong kernel is named by it, and nothing before
or after it can hide or blame it. **Whole**: against a float64 pass from the same input, which
never sees a rounded number; its bound follows from those of the layers.

That bound takes the errors of different elements as independent with mean zero, which is what
the λ·√k of reference.py rests on too, and the bound of each element as its standard deviation.
Then variances add up: an output of a product gets Σ w² v from its inputs and the square of its own
local bound; what cheap layers do to them is in cheap_reference.py, to first order. Norms that hold
in the worst case would be of no use: the product of eight layers' operator norms is above 10⁶.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

import numpy as np
from numpy.typing import NDArray

from gemmbench import cheap_reference
from gemmbench.algorithm import TRANSFORM_ALGORITHMS
from gemmbench.network_graph import Network, Node, factors
from gemmbench.operands import Array
from gemmbench.problem import Linear, Problem
from gemmbench.reference import UNIT_ROUNDOFF, error_bound, product

Float64 = NDArray[np.float64]
Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Made:
    """How a layer was computed: of a product the algorithm and how it amplifies errors."""

    algorithm: str = ""
    growth: float = 1.0


@dataclass(frozen=True, slots=True)
class LayerCheck:
    """How far a layer is off, in units of what is allowed: above 1 is wrong.

    `whole` is of the pass up to here; None where only the layer was looked at.
    """

    layer: str
    local: float
    whole: float | None = None
    relative_error: float = 0.0  # of the pass: the largest over the rms of the float64 answer
    relative_bound: float = 0.0  # and how large it may be
    absolute_bound: float = 0.0  # the same, not over the rms

    @property
    def wrong(self) -> str | None:
        """What is wrong, in a few words; None if nothing."""
        if not self.local <= 1:
            return f"error {self.local:.3g} times the bound, on the inputs that it received"
        if self.whole is not None and not self.whole <= 1:
            return f"the pass is off {self.whole:.3g} times the bound against float64"
        return None


@dataclass(slots=True)
class PassCheck:
    """Follows a pass layer by layer. `weights` are by layer and name, as the pass has them.

    Asked for each layer in order, it keeps what later ones read. Without `whole` the layers are
    only looked at one by one, on what they received.
    """

    network: Network
    weights: Mapping[str, Arrays]
    given: Array  # the network's input
    whole: bool = True
    written: dict[str, Array] = field(default_factory=dict)  # by layers that are still read
    right: dict[str, Float64] = field(default_factory=dict)
    variance: dict[str, Float64] = field(default_factory=dict)

    def check(self, node: Node, output: Array, made: Made) -> LayerCheck:
        """What the next layer wrote, in float64 terms."""
        received = [self._received(name) for name in node.reads] or [_float64(self.given)]
        answer, allowed = self._local(node, received, made)
        local = _over(np.abs(_float64(output) - answer), allowed)
        self.written[node.name] = output
        found = LayerCheck(node.name, local)
        if self.whole and found.wrong is None:
            found = self._against_float64(node, output, allowed, local)
        self._forget(node)
        return found

    def _received(self, name: str) -> Float64:
        return _float64(self.written[name])

    def _local(self, node: Node, inputs: list[Float64], made: Made) -> tuple[Float64, Float64]:
        """The answer on `inputs`, and how far from it each element may be."""
        weights, unit = self.weights.get(node.name, {}), UNIT_ROUNDOFF[self.network.dtype]
        operation = node.operation
        if not isinstance(operation, Problem):
            answer = cheap_reference.answer(operation, inputs, weights)
            return answer, cheap_reference.rounding(operation, inputs, answer, weights, unit)
        answer = _multiply(operation, inputs[0], weights)
        bound = error_bound(operation, made.algorithm, made.growth)
        if made.algorithm in TRANSFORM_ALGORITHMS:
            (w,) = weights.values()
            typical = operation.reduction_length() * _rms(inputs[0]) * _rms(_float64(w))
            return answer, np.full(answer.shape, bound * typical)
        sizes = {name: np.abs(array) for name, array in weights.items()}
        return answer, bound * _multiply(operation, np.abs(inputs[0]), sizes)

    def _against_float64(
        self, node: Node, output: Array, allowed: Float64, local: float
    ) -> LayerCheck:
        inputs = [self.right[name] for name in node.reads] or [_float64(self.given)]
        before = [self.variance[name] for name in node.reads] or [np.zeros(inputs[0].shape)]
        weights, operation = self.weights.get(node.name, {}), node.operation
        if isinstance(operation, Problem):
            answer = _multiply(operation, inputs[0], weights)
            squares = {name: np.square(_float64(array)) for name, array in weights.items()}
            variance = _multiply(operation, before[0], squares)
        else:
            answer = cheap_reference.answer(operation, inputs, weights)
            variance = cheap_reference.spread(operation, inputs, before, weights)
        variance = variance + np.square(allowed)
        self.right[node.name], self.variance[node.name] = answer, variance
        error, limit = np.abs(_float64(output) - answer), np.sqrt(variance)
        size = _rms(answer) or 1.0
        return LayerCheck(
            node.name,
            local,
            _over(error, limit),
            float(error.max()) / size,
            float(limit.max()) / size,
            float(limit.max()),
        )

    def _forget(self, last: Node) -> None:
        """Drop what no layer after `last` reads."""
        order = [node.name for node in self.network.nodes]
        later = self.network.nodes[order.index(last.name) + 1 :]
        needed = {name for node in later for name in node.reads}
        for kept in (self.written, self.right, self.variance):
            for name in [name for name in kept if name not in needed]:
                del kept[name]


def _multiply(problem: Problem, x: Array, weights: Arrays) -> Float64:
    """The float64 product of a layer; an image that a Linear reads is one row."""
    activations, _ = factors(problem)
    rows = x.reshape(x.shape[0], -1) if isinstance(problem, Linear) else x
    return product(problem, {activations: rows, **weights})


def _over(error: Float64, allowed: Float64) -> float:
    """The largest error as a multiple of what is allowed; infinite where none is, or for NaN."""
    if np.isnan(error).any():
        return inf
    if np.any(error[allowed == 0]):
        return inf
    ratio = np.divide(error, allowed, out=np.zeros_like(error), where=allowed > 0)
    return float(ratio.max())


def _float64(array: Array) -> Float64:
    return np.asarray(array, dtype=np.float64)


def _rms(array: Float64) -> float:
    flat = array.reshape(-1)
    return float(np.sqrt(np.dot(flat, flat) / flat.size))
