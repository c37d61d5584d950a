"""A pass is checked layer by layer and as a whole; what is wrong is named, what is right passes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemmbench.cheap import Add, BatchNorm, Cheap, Concat, Lrn, Pool, Relu, Softmax
from gemmbench.cheap_reference import answer
from gemmbench.network_data import save_inputs, save_weights, weight_shapes
from gemmbench.network_graph import Node, network_of
from gemmbench.network_reference import Made, PassCheck
from gemmbench.operands import map_operands
from gemmbench.problem import Conv2d, Linear
from gemmbench.reference import product

NODES = [
    Node("c1", Conv2d(2, 3, 12, 12, 8, (3, 3), pad=(1, 1))),
    Node("r1", Relu()),
    Node("n1", Lrn(3, 0.1)),
    Node("p1", Pool("max", (3, 3), (2, 2), round="up")),
    Node("a", Conv2d(2, 8, 6, 6, 4, (1, 1))),
    Node("b", Conv2d(2, 8, 6, 6, 4, (3, 3), pad=(1, 1)), ("p1",)),
    Node("j", Concat(), ("a", "b")),
    Node("bn", BatchNorm()),
    Node("s", Add(), ("bn", "p1")),
    Node("p2", Pool("average", (6, 6))),
    Node("fc", Linear(2, 8, 5)),
    Node("o", Softmax()),
]


@pytest.fixture(scope="module")
def pass_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pass")
    network = network_of(NODES)
    paths = save_weights(network, folder, 0)
    weights = {name: map_operands(one) for name, one in paths.items()}
    return network, weights, np.load(save_inputs(network, folder, 0)[0])


def compute(network, node, inputs, weights):
    """The layer in float32 by NumPy, rounded from float64: a very good implementation."""
    operation = node.operation
    if isinstance(operation, Cheap):
        exact = answer(operation, [one.astype(np.float64) for one in inputs], weights)
        return exact.astype(np.float32)
    x = inputs[0].reshape(2, -1) if isinstance(operation, Linear) else inputs[0]
    return product(operation, {"x": x, **weights}).astype(np.float32)


IM2COL = Made("im2col")


def follow(pass_data, damage=lambda name, output: output, made=IM2COL, **options):
    network, weights, given_ = pass_data
    check, outputs, found = PassCheck(network, weights, given_, **options), {}, []
    for node in network.nodes:
        inputs = [outputs[name] for name in node.reads] or [given_]
        right = compute(network, node, inputs, weights.get(node.name, {}))
        outputs[node.name] = damage(node.name, right)
        found.append(check.check(node, outputs[node.name], made))
        if found[-1].wrong is not None:
            break  # as a pass does
    return found


def test_a_right_pass_is_far_below_its_bounds(pass_data):
    found = follow(pass_data)
    assert all(one.wrong is None for one in found)
    assert max(one.local for one in found) < 0.5
    assert max(one.whole for one in found) < 0.5
    assert 0 < found[-1].relative_error < found[-1].relative_bound < 1e-3


def test_the_second_look_checks_each_layer_alone(pass_data):
    assert {one.whole for one in follow(pass_data, whole=False)} == {None}


@pytest.mark.parametrize("node", NODES, ids=lambda one: one.name)
def test_one_wrong_element_anywhere_names_its_layer(pass_data, node):
    def damage(name, output):
        if name != node.name:
            return output
        wrong = output.copy()
        wrong.flat[wrong.size // 2] += 0.01
        return wrong

    found = follow(pass_data, damage)
    assert found[-1].layer == node.name
    assert "on the inputs that it received" in found[-1].wrong


def test_an_element_that_nobody_wrote_is_wrong(pass_data):
    def damage(name, output):
        return np.where(np.arange(output.size).reshape(output.shape) == 3, np.nan, output)

    assert follow(pass_data, damage)[0].wrong is not None


def test_a_transform_is_held_to_a_bound_of_norms(pass_data):
    found = follow(pass_data, made=Made("winograd", 4.0))
    assert all(one.wrong is None for one in found)


def test_errors_that_each_layer_may_make_pass_as_a_whole_too(pass_data):
    """Random errors of a fifth of the local bound everywhere stay within the bound of the pass."""
    rng = np.random.default_rng(5)

    def damage(name, output):
        node = next(node for node in NODES if node.name == name)
        if isinstance(node.operation, Cheap):
            return output
        size = 0.2 * 2.0**-24 * np.sqrt(8) * 8 * np.abs(output)
        return (output + rng.uniform(-1, 1, output.shape) * size).astype(np.float32)

    assert all(one.wrong is None for one in follow(pass_data, damage))


@settings(deadline=None, max_examples=20)
@given(depth=st.integers(2, 12), width=st.integers(4, 64), seed=st.integers(0, 99))
def test_the_bound_of_the_whole_holds_and_stays_useful_in_depth(
    tmp_path_factory, depth, width, seed
):
    folder = tmp_path_factory.mktemp("deep")
    nodes = []
    for index in range(depth):
        nodes += [Node(f"fc{index}", Linear(4, width, width)), Node(f"r{index}", Relu())]
    network = network_of(nodes)
    weights = {n: map_operands(p) for n, p in save_weights(network, folder, seed).items()}
    given_ = np.load(save_inputs(network, folder, seed)[0])
    check, x = PassCheck(network, weights, given_), given_
    for node in network.nodes:
        if isinstance(node.operation, Linear):
            x = x @ weights[node.name]["w"].T  # float32, in whatever order BLAS adds
        else:
            x = np.maximum(x, 0)
        found = check.check(node, x, Made("gemm"))
        assert found.wrong is None
    assert found.relative_bound < 0.01


def test_weights_keep_the_size_of_activations(pass_data):
    network, weights, _ = pass_data
    for node in network.nodes:
        for name, shape in weight_shapes(network, node).items():
            assert weights[node.name][name].shape == shape
    w = weights["b"]["w"]
    assert float(np.mean(np.square(w))) == pytest.approx(2 / 72, rel=0.15)


def test_an_exact_layer_may_not_be_off_at_all(pass_data):
    network, weights, given_ = pass_data
    only = replace(NODES[0]), NODES[1]
    small = network_of(only)
    check = PassCheck(small, weights, given_)
    right = compute(small, small.nodes[0], [given_], weights["c1"])
    assert check.check(small.nodes[0], right, Made("im2col")).wrong is None
    almost = np.maximum(right, 0)
    almost[almost > 0] *= np.float32(1 + 1e-6)
    assert check.check(small.nodes[1], almost, Made()).local == np.inf
    assert network is not small
