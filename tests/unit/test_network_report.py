"""The table of a pass is compared with files in tests/golden/; see test_report_table.py."""

import json
from dataclasses import replace

import pytest
from example_trials import MACHINE
from test_report_table import check_golden

from gemmbench.cheap import Pool, Relu, Softmax
from gemmbench.measurement import Measurement, Sample
from gemmbench.network import PassResult
from gemmbench.network_choice import Choice, Chosen
from gemmbench.network_graph import Node
from gemmbench.network_pass import Failure, LayerResult
from gemmbench.network_reference import LayerCheck
from gemmbench.problem import Conv2d, Gemm, Linear
from gemmbench.suite import Layer, Suite
from gemmbench.trial import Contender, TrialState
from gemmbench_results.report.network import (
    conv_fc_share,
    network_json,
    network_rows,
    network_text,
    stamps_over_pass,
)
from gemmbench_results.report.published import PUBLISHED
from gemmbench_results.report.render import csv_text

CONV = Conv2d(10, 3, 227, 227, 96, (11, 11), stride=(4, 4))
FC = Linear(10, 96 * 18 * 18, 1000)
NODES = (
    Node("conv<1>", CONV),
    Node("relu1", Relu()),
    Node("pool|1", Pool("max", (3, 3), (3, 3))),
    Node("fc", FC),
    Node("prob", Softmax()),
)
SECONDS = (0.0120, 0.0008, 0.0012, 0.0070, 0.0001)  # of a layer in a pass; together 21.1 ms
BETWEEN = 2e-6  # of a pass, in none of its layers


def passes(seconds: float) -> Measurement:
    """Two passes in each of three processes, a per cent apart."""
    return Measurement(
        tuple(
            Sample(seconds * (1 + 0.01 * (process - 1)), 1, process, number)
            for process in range(3)
            for number in range(2)
        )
    )


def chosen(backend, algorithm, seconds, **fields):
    return Chosen(Contender(backend, algorithm, **fields), seconds, 7, "numba 0.66", True)


def example_pass() -> PassResult:
    layers = tuple(Layer(n.name, n.operation, "x") for n in NODES if not n.cheap)
    suite = Suite("example", "Made up", "x", layers, "example.yaml", nodes=NODES)
    network = suite.network()
    config = {"mr": 9, "nv": 3, "threads": 2}
    by = {
        "conv<1>": chosen("numba", "winograd", 0.0110, weights="prepared", config=config),
        "fc": chosen("blas", "gemm", 0.0068),
    }
    results = [
        LayerResult(
            node,
            by.get(node.name),
            passes(seconds),
            0.9 * seconds,
            LayerCheck(node.name, 0.0 if node.name == "relu1" else 0.2, 0.1, 3e-6, 4e-4, 1e-3),
        )
        for node, seconds in zip(network.nodes, SECONDS, strict=True)
    ]
    choice = Choice(notes=["left out: torch (its library may not share a process; name it to use)"])
    whole = passes(sum(SECONDS) + BETWEEN)
    return PassResult(suite, network, tuple(results), whole, choice, MACHINE, 2)


@pytest.mark.parametrize(("style", "ending"), [("table", "txt"), ("markdown", "md")])
def test_the_text_of_a_pass_is_as_golden(style, ending):
    check_golden(f"network.{ending}", network_text(example_pass(), format=style) + "\n")


def test_the_csv_of_a_pass_is_as_golden():
    check_golden("network.csv", csv_text(network_rows(example_pass())))


def test_a_network_of_products_alone_has_rows_and_no_images():
    result = example_pass()
    layers = (Layer("product", Gemm(8, 16, 4), "x"),)
    suite = Suite("products", "Made up", "x", layers, "products.yaml")
    (first, *_) = result.layers
    product = replace(first, node=suite.network().nodes[0])
    told = replace(result, suite=suite, network=suite.network(), layers=(product,))
    assert "per batch of 8, 2.64 ms per row, 379 rows/s" in network_text(told)
    assert "image" not in network_text(told)


def test_the_share_is_that_of_the_products():
    share = conv_fc_share(example_pass()).median
    assert share == pytest.approx(0.0190 / (0.0211 + BETWEEN))


def test_a_share_that_is_not_known_is_still_one_of_a_whole():
    result = example_pass()
    apart = (Sample(0.02, 1, 0, 0), Sample(0.9, 1, 1, 0))  # two passes, as on a busy machine
    layers = tuple(
        replace(one, measurement=Measurement(tuple(replace(s, seconds=1e-4) for s in apart)))
        for one in result.layers
    )
    text = network_text(replace(result, layers=layers, passes=Measurement(apart)))
    (line,) = (line for line in text.splitlines() if line.startswith("conv + fc:"))
    assert line.endswith("(0.0 % to 100.0 %)")


def test_what_the_stamps_leave_out_of_a_pass_is_known():
    assert stamps_over_pass(example_pass()) == pytest.approx(1 - BETWEEN / 0.0211, abs=1e-6)


def test_the_json_says_what_the_text_does():
    data = json.loads(json.dumps(network_json(example_pass()), allow_nan=False))
    assert data["pass_seconds"] == pytest.approx(0.0211, rel=1e-3)
    assert data["images_per_second"] == pytest.approx(10 / 0.0211, rel=1e-3)
    assert data["sum_of_layers_over_pass"] == pytest.approx(0.9, rel=1e-3)
    assert data["sum_of_raced_layers_over_pass"] == pytest.approx(
        (0.0110 + 0.0068 + 0.9 * 0.0021) / 0.0211, rel=1e-3
    )
    assert (data["max_error"], data["error_bound"]) == (3e-6, 4e-4)


def test_of_a_pass_that_failed_only_the_reason_is_told():
    suite = example_pass().suite
    failure = Failure("fc", TrialState.WRONG, "blas gemm: error 43 times the bound")
    result = PassResult(suite, suite.network(), (), Measurement(), Choice(), MACHINE, 2, failure)
    assert network_text(result) == "WRONG in layer 'fc': blas gemm: error 43 times the bound"
    data = network_json(result)
    assert data["failure"]["layer"] == "fc"
    assert data["pass_seconds"] is None
    assert result.exit_code() == 5


def test_a_crash_is_6_unless_something_was_wrong_in_a_race():
    suite = example_pass().suite
    failure = Failure("fc", TrialState.FAILED, "gone")
    for races, code in ((0, 6), (6, 6), (5, 5)):
        choice = Choice(exit_code=races)
        result = PassResult(suite, suite.network(), (), Measurement(), choice, MACHINE, 2, failure)
        assert result.exit_code() == code


def test_every_published_share_is_a_fraction_with_a_source():
    assert [one.share for one in PUBLISHED] == [0.95, 0.89, 0.905, 0.961, 0.884, 0.724]
    assert all(one.source for one in PUBLISHED)
