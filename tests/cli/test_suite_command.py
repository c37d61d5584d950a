import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gemmbench.cli.suite import SuiteName, suite
from gemmbench.errors import GemmbenchError
from gemmbench.problem import problem_from_data
from gemmbench.suite import load_suite, shipped_suites, suite_schema


def run(*arguments):
    result = CliRunner().invoke(suite, arguments, prog_name="gemmbench suite")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def cells(line):
    """The columns of one row of a table, which are two spaces or more apart."""
    return [cell for cell in line.split("  ") if cell.strip()]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text("suite: good\nsource: x\nlayers: [{name: a, gemm: 1x2x3}]")
    Path("bad.yaml").write_text("suite: bad\nlayers: []")
    Path("worse.yaml").write_text("suite: worse\nlayer: []")


def test_list_shows_every_shipped_suite_once():
    output = run("list").output
    names = [line.split()[0] for line in output.splitlines()[2:] if not line.startswith(" ")]
    assert names == list(shipped_suites())


def test_list_shows_layers_and_work():
    rows = [cells(line) for line in run("list").output.splitlines()]
    row = next(row for row in rows if row[0] == "alexnet")
    assert [cell.strip() for cell in row[1:3]] == ["8", "14.49"]


def test_list_prints_json():
    data = json.loads(run("list", "--json").output)
    assert data["schema"] == 1
    assert [found["suite"] for found in data["suites"]] == list(shipped_suites())
    warden = data["suites"][-1]
    assert warden["layer_count"] == 1
    assert warden["flops"] == 113_246_208


def test_show_prints_one_row_a_layer():
    lines = run("show", "alexnet").output.splitlines()
    row = next(line for line in lines if line.startswith("conv2"))
    assert [cell.strip() for cell in cells(row)] == [
        "conv2",
        "conv2d",
        "10×96×27×27 · 256×48×5×5 pad 2×2, groups 2",
        "128×1200×729 ×20",
        "4478.98",
        "11.49",
        "389.7",
        "7.00",
        "1",
    ]
    assert lines[1] == "Source: BVLC/caffe@9b89154 models/bvlc_alexnet/deploy.prototxt"
    assert lines[-1] == "8 layers and 15 cheap ones, 14.49 GFLOP in all, float32"


def test_show_lists_cheap_layers_with_what_they_give():
    lines = run("show", "alexnet", "--only", "*1").output.splitlines()
    rows = [[cell.strip() for cell in cells(line)] for line in lines]
    assert ["norm1", "lrn", "10×96×55×55"] in rows
    assert lines[-1] == "1 layer and 3 cheap ones, 2.11 GFLOP in all, float32"


def test_json_lists_cheap_layers_apart():
    data = json.loads(run("show", "alexnet", "--json").output)
    assert [layer["layer"] for layer in data["layers"]][:2] == ["conv1", "conv2"]
    assert data["cheap_layers"][0] == {
        "layer": "relu1", "cheap": {"kind": "relu"}, "from": [], "output": [10, 96, 55, 55],
    }  # fmt: skip


def test_show_counts_a_repeated_layer_in_the_total():
    lines = run("show", "resnet50", "--only", "res2a_branch2b").output.splitlines()
    assert lines[-1] == "1 layer, 0.69 GFLOP in all, float32"


def test_show_takes_overrides():
    output = run("show", "alexnet", "--batch", "1", "--dtype", "float64").output
    assert "1×3×227×227" in output
    assert output.endswith("8 layers and 15 cheap ones, 1.45 GFLOP in all, float64\n")


def test_show_leaves_the_im2col_column_empty_where_nothing_is_lowered():
    lines = run("show", "alexnet", "--only", "fc8").output.splitlines()
    row = next(line for line in lines if line.startswith("fc8"))
    assert [cell.strip() for cell in cells(row)][-3:] == ["16.59", "4.9", "1"]


def test_show_prints_json_from_which_the_problems_can_be_read_back():
    data = json.loads(run("show", "resnet50", "--json").output)
    expected = load_suite("resnet50")
    assert data["suite"] == "resnet50"
    assert [problem_from_data(layer["problem"]) for layer in data["layers"]] == [
        layer.problem for layer in expected.layers
    ]
    assert [layer["count"] for layer in data["layers"]] == [
        layer.count for layer in expected.layers
    ]
    first = data["layers"][0]
    assert first["gemm"] == {"m": 64, "k": 147, "n": 12544, "count": 1}
    assert first["intensity"] == first["flops"] / first["minimal_bytes"]
    assert first["im2col_bytes"] == 7_375_872


@pytest.mark.parametrize("arguments", [["show", "nope"], ["show", "alexnet", "--only", "nope"]])
def test_what_is_not_there_is_a_gemmbench_error(arguments):
    with pytest.raises(GemmbenchError, match="nope"):
        run(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show"], "Missing argument 'SUITE'"),
        (["show", "alexnet", "--batch", "0"], "0 is not in the range x>=1"),
        (["show", "alexnet", "--dtype", "half"], "'half' is not one of 'float32', 'float64'"),
        (["validate"], "Missing argument 'SUITE...'"),
    ],
)
def test_wrong_usage_ends_with_2(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_validate_confirms_each_file(files):
    result = run("validate", "good.yaml", "alexnet")
    assert result.exit_code == 0
    assert result.stdout == "good.yaml: ok, 1 layer\nalexnet: ok, 8 layers and 15 cheap ones\n"
    assert result.stderr == ""


def test_validate_goes_on_after_a_wrong_file_and_ends_with_2(files):
    result = run("validate", "bad.yaml", "good.yaml", "worse.yaml")
    assert result.exit_code == 2
    assert result.stdout == "good.yaml: ok, 1 layer\n"
    assert result.stderr == (
        "gemmbench: error: bad.yaml: layers: got [], expected a list of layers.\n"
        "gemmbench: error: worse.yaml: unknown key 'layer'. Did you mean 'layers'?\n"
    )


def test_schema_prints_the_schema():
    assert json.loads(run("schema").output) == suite_schema()


@pytest.mark.parametrize("name", sorted(suite.commands))
def test_every_command_has_a_line_and_an_example(name):
    command = suite.commands[name]
    assert command.help is not None
    assert command.help.splitlines()[0].endswith(".")
    assert f"Example: gemmbench suite {name}" in command.help


@pytest.mark.parametrize(
    ("incomplete", "expected"),
    [
        ("al", [("alexnet", "plain")]),
        ("w", [("warden", "plain")]),
        ("./my", [("./my", "file")]),
    ],
)
def test_the_shell_completes_shipped_names_and_else_files(incomplete, expected):
    context = click.Context(suite)
    parameter = suite.commands["show"].params[0]
    items = SuiteName().shell_complete(context, parameter, incomplete)
    assert [(item.value, item.type) for item in items] == expected
