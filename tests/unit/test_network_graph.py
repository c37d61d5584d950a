"""Shapes through a network, and what a suite file that is one may not say."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemmbench.cheap import KINDS, Add, Concat, Dropout, Lrn, Pool, Relu, Softmax
from gemmbench.errors import GemmbenchError
from gemmbench.network_graph import (
    GraphError,
    Node,
    network_of,
    node_from_data,
    node_to_data,
)
from gemmbench.problem import Conv2d, Linear
from gemmbench.suite import load_suite, select_layers

CONV = Conv2d(2, 3, 9, 9, 4, (3, 3))  # -> 2×4×7×7
# What Caffe's own layers give, of one image: BVLC/caffe@9b89154 models/bvlc_*/deploy.prototxt.
ALEXNET = {
    "conv1": (96, 55, 55), "norm1": (96, 55, 55), "pool1": (96, 27, 27), "conv2": (256, 27, 27),
    "pool2": (256, 13, 13), "conv3": (384, 13, 13), "conv5": (256, 13, 13), "pool5": (256, 6, 6),
    "fc6": (4096,), "drop7": (4096,), "fc8": (1000,), "prob": (1000,),
}  # fmt: skip
GOOGLENET = {
    "conv1/7x7_s2": (64, 112, 112), "pool1/3x3_s2": (64, 56, 56), "pool2/3x3_s2": (192, 28, 28),
    "inception_3a/pool": (192, 28, 28), "inception_3a/output": (256, 28, 28),
    "inception_3b/output": (480, 28, 28), "pool3/3x3_s2": (480, 14, 14),
    "inception_4a/output": (512, 14, 14), "inception_4e/output": (832, 14, 14),
    "pool4/3x3_s2": (832, 7, 7), "inception_5b/output": (1024, 7, 7), "pool5/7x7_s1": (1024, 1, 1),
    "loss3/classifier": (1000,), "prob": (1000,),
}  # fmt: skip


@pytest.mark.parametrize(("suite", "expected"), [("alexnet", ALEXNET), ("googlenet", GOOGLENET)])
def test_shapes_are_those_of_caffe(suite, expected):
    network = load_suite(suite).network()
    assert {name: network.shapes[name][1:] for name in expected} == expected
    assert network.batch() == 10
    assert [node.name for node in network.outputs()] == ["prob"]


@pytest.mark.parametrize(
    ("suite", "products", "nodes"), [("alexnet", 8, 23), ("googlenet", 58, 142)]
)
def test_only_the_products_of_a_network_are_raced(suite, products, nodes):
    loaded = load_suite(suite)
    assert (len(loaded.layers), len(loaded.nodes)) == (products, nodes)


@pytest.mark.parametrize(
    ("pool", "size", "expected"),
    [
        (Pool("max", (3, 3), (2, 2), round="up"), 112, 56),
        (Pool("max", (3, 3), (2, 2), round="down"), 112, 55),
        (Pool("max", (3, 3), (2, 2), round="up"), 55, 27),
        (Pool("max", (3, 3), (1, 1), (1, 1), "up"), 28, 28),
        (Pool("max", (2, 2), (2, 2), (1, 1), "up"), 5, 3),  # a fourth would begin in the padding
    ],
)
def test_a_pool_rounds_as_caffe_does(pool, size, expected):
    assert pool.output_shape([(1, 1, size, size)]) == (1, 1, expected, expected)


@given(
    size=st.integers(1, 40), kernel=st.integers(1, 7), stride=st.integers(1, 5),
    pad=st.integers(0, 6), rounding=st.sampled_from(["up", "down"]),
)  # fmt: skip
def test_every_window_of_a_pool_sees_a_pixel(size, kernel, stride, pad, rounding):
    if pad >= kernel or size + 2 * pad < kernel:
        return
    pool = Pool("max", (kernel,) * 2, (stride,) * 2, (pad,) * 2, rounding)
    outputs = pool.output_shape([(1, 1, size, size)])[2]
    first = [index * stride - pad for index in range(outputs)]
    last_pixel = {min(begin + kernel, size + pad) for begin in first}
    if stride <= kernel and pad <= kernel // 2:
        assert all(begin < size for begin in first)
    assert all(end > -pad for end in last_pixel)


def nodes(*rest):
    return [Node("conv", CONV), *rest]


def refusal(*rest):
    with pytest.raises(GraphError) as caught:
        network_of(nodes(*rest))
    return str(caught.value)


def test_a_layer_reads_the_one_before_unless_it_says_otherwise():
    network = network_of(nodes(Node("a", Relu()), Node("b", Relu(), ("conv",)), Node("c", Relu())))
    assert [node.reads for node in network.nodes] == [(), ("conv",), ("conv",), ("b",)]
    assert [node.name for node in network.outputs()] == ["a", "c"]


def test_a_layer_may_overwrite_only_what_nobody_else_reads():
    network = network_of(
        nodes(
            Node("a", Relu()),
            Node("b", Dropout()),
            Node("c", Softmax()),
            Node("d", Relu(), ("b",)),
        )
    )
    assert {node.name: network.overwrites(node) for node in network.nodes} == {
        "conv": False, "a": True, "b": True, "c": False, "d": False,
    }  # fmt: skip


def test_a_fully_connected_layer_reads_an_image_as_one_row():
    network = network_of(nodes(Node("fc", Linear(2, 4 * 49, 5))))
    assert network.shapes["fc"] == (2, 5)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ([Node("a", Relu(), ("cnv",))],
         "layer 'a': from: got 'cnv', expected a layer listed before. Did you mean 'conv'?"),
        ([Node("a", Add(), ("conv", "b")), Node("b", Relu(), ("a",))],
         "layer 'a': from: got 'b', expected a layer listed before."),
        ([Node("a", Relu(), ("a",))], "layer 'a': from: got 'a', expected a layer listed before."),
        ([Node("conv", Relu())], "layer 'conv': name: is taken"),
        ([Node("fc", Linear(2, 195, 5))],
         "layer 'fc': from: reads 2×4×7×7, its own shape asks for 2×195."),
        ([Node("fc", Linear(2, 196, 5, "float64"))],
         "layer 'fc': dtype: got float64, the network begins in float32."),
        ([Node("a", Add())], "layer 'a': from: reads 'conv' alone, expected two layers or more"),
        ([Node("p", Pool("max", (2, 2))), Node("a", Add(), ("conv", "p"))],
         "layer 'a': from: reads 2×4×7×7 and 2×4×6×6; an add needs equal ones."),
        ([Node("p", Pool("max", (2, 2))), Node("a", Concat(), ("conv", "p"))],
         "layer 'a': from: reads 2×4×7×7 and 2×4×6×6; a concat needs equal sizes"),
        ([Node("r", Relu()), Node("a", Softmax(), ("conv", "r"))],
         "layer 'a': from: reads 2 layers, a softmax reads one."),
        ([Node("p", Pool("max", (8, 8)))],
         "layer 'p': kernel: got 8, larger than the padded image 7."),
        ([Node("fc", Linear(2, 196, 5)), Node("l", Lrn())], "layer 'l': from: reads 2×5, expected"),
        ([Node("r", CONV, count=4)], "layer 'r': count: got 4, a network lists each"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(rest, message):
    assert refusal(*rest).startswith(message)


def test_a_network_cannot_begin_with_a_cheap_layer():
    with pytest.raises(GraphError, match="Begin with a conv2d, a linear or a gemm"):
        network_of([Node("relu", Relu())])


EVERY_KIND = [
    Relu(), Lrn(3, 0.1), Pool("average", (2, 3), (2, 1), (1, 0), "up"), Dropout(0.4), Softmax(),
    KINDS["batchnorm"](1e-3), Add(), Concat(), CONV,
]  # fmt: skip


@pytest.mark.parametrize("operation", EVERY_KIND, ids=lambda one: one.kind)
def test_a_node_survives_the_way_through_json(operation):
    node = Node("n", operation, ("a", "b"))
    assert node_from_data(node_to_data(node)) == node


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load(*layers):
        text = "suite: s\nsource: x\nlayers:\n" + "".join(f"  - {line}\n" for line in layers)
        (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
        return load_suite("s.yaml")

    return load


FIRST = "{name: c, conv2d: {in: [2, 6, 6], out: 2, kernel: 3}}"


def test_a_file_lists_cheap_layers_without_shapes(file):
    suite = file(
        FIRST,
        "{name: bn, batchnorm: {epsilon: 0.001}}",
        "{name: r, relu: {}}",
        "{name: s, add: {}, from: [bn, r]}",
        "{name: n, lrn: {size: 3, alpha: 0.1, beta: 0.5, k: 2}}",
        "{name: p, pool: {method: average, kernel: [2, 3], stride: 2, pad: 1, round: up}}",
        "{name: j, concat: {}, from: [p, p]}",
        "{name: d, dropout: {ratio: 0.4}}",
        "{name: o, softmax: {}}",
    )
    assert [layer.name for layer in suite.layers] == ["c"]
    assert [node.operation for node in suite.nodes[4:6]] == [
        Lrn(3, 0.1, 0.5, 2.0), Pool("average", (2, 3), (2, 2), (1, 1), "up"),
    ]  # fmt: skip
    assert suite.network().shapes["o"] == (1, 4, 3, 3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{name: r, relu: {slope: 1}}", "layers[1].relu ('r'): unknown key 'slope'."),
        ("{name: r, relu: 1}", "layers[1].relu ('r'): got 1, expected {}."),
        ("{name: r, relu: {}, count: 2}", "layers[1] ('r'): a relu has no count. Remove the key"),
        ("{name: r, relu: {}, dtype: float32}", "layers[1] ('r'): a relu has no dtype."),
        ("{name: p, pool: {kernel: 2}}", "layers[1].pool ('p'): the key 'method' is missing."),
        ("{name: p, pool: {method: mean, kernel: 2}}",
         "layers[1].pool.method ('p'): got 'mean'. Choose from average, max."),
        ("{name: p, pool: {method: max, kernel: 2, round: ceil}}",
         "layers[1].pool.round ('p'): got 'ceil'. Choose from down, up."),
        ("{name: p, pool: {method: max, kernel: 2, pad: 2}}",
         "layers[1].pool.pad ('p'): got 2, expected less than the kernel 2"),
        ("{name: p, pool: {method: max, kernel: 5}}",
         "layers[1].pool.kernel ('p'): got 5, larger than the padded image 4."),
        ("{name: n, lrn: {size: 4}}", "layers[1].lrn.size ('n'): got 4, expected an odd number"),
        ("{name: n, lrn: {alpha: -1}}", "layers[1].lrn.alpha ('n'): got -1, expected a positive"),
        ("{name: d, dropout: {ratio: 1.5}}", "layers[1].dropout.ratio ('d'): got 1.5, expected a"),
        ("{name: a, add: {}}", "layers[1].from ('a'): reads 'c' alone, expected two layers"),
        ("{name: r, relu: {}, from: x}", "layers[1].from ('r'): got 'x', expected a layer listed"),
        ("{name: r, relu: {}, from: r}", "layers[1].from ('r'): got 'r', expected a layer listed"),
    ],
)  # fmt: skip
def test_a_wrong_cheap_layer_is_refused_with_its_place(file, line, message):
    with pytest.raises(GemmbenchError) as caught:
        file(FIRST, line)
    assert str(caught.value).startswith(f"s.yaml: {message}")


def test_with_a_cheap_layer_the_products_have_to_fit_too(file):
    with pytest.raises(GemmbenchError, match=r"layers\[2\].from \('f'\): reads 1×2×4×4, its own"):
        file(FIRST, "{name: r, relu: {}}", "{name: f, linear: {in: 31, out: 2}}")


def test_a_suite_of_products_alone_need_not_be_a_network_until_it_is_run_as_one(file):
    suite = file(FIRST, "{name: f, linear: {in: 31, out: 2}}")
    with pytest.raises(GemmbenchError, match=r"s\.yaml: isn't a network: layer 'f': from: reads "):
        suite.network()


def test_merged_layers_are_no_network():
    with pytest.raises(GemmbenchError, match=r"a network\. Use resnet50_network, which ships\.$"):
        load_suite("resnet50").network()


def test_resnet_as_a_network_has_the_products_of_resnet_merged():
    merged = Counter({layer.problem: layer.count for layer in load_suite("resnet50").layers})
    whole = load_suite("resnet50_network")
    assert Counter(layer.problem for layer in whole.layers) == merged
    assert whole.network().shapes["res5c"] == (1, 2048, 7, 7)


def test_selecting_layers_keeps_cheap_ones_that_match():
    suite = select_layers(load_suite("alexnet"), ["*1"])
    assert [layer.name for layer in suite.layers] == ["conv1"]
    assert [node.name for node in suite.nodes] == ["conv1", "relu1", "norm1", "pool1"]
