"""`gemmbench network` end to end: a tiny network, and backends that only fail within a pass."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
SUITE = """
suite: tiny
description: Every cheap layer once
source: made up for the tests
defaults: {dtype: float32, batch: 2}
layers:
  - {name: conv, conv2d: {in: [3, 10, 10], out: 4, kernel: 3, pad: 1}}
  - {name: relu, relu: {}}
  - {name: norm, lrn: {size: 3, alpha: 0.1}}
  - {name: pool, pool: {method: max, kernel: 3, stride: 2, round: up}}
  - {name: left, conv2d: {in: [4, 5, 5], out: 2, kernel: 1}}
  - {name: right, conv2d: {in: [4, 5, 5], out: 2, kernel: 3, pad: 1}, from: pool}
  - {name: join, concat: {}, from: [left, right]}
  - {name: bn, batchnorm: {}}
  - {name: sum, add: {}, from: [bn, pool]}
  - {name: mean, pool: {method: average, kernel: 5}}
  - {name: drop, dropout: {}}
  - {name: fc, linear: {in: 4, out: 6}}
  - {name: prob, softmax: {}}
"""
ROWS = """
suite: rows
description: Two fully connected layers
source: made up for the tests
defaults: {dtype: float32, batch: 3}
layers:
  - {name: fc1, linear: {in: 40, out: 64}}
  - {name: relu1, relu: {}}
  - {name: fc2, linear: {in: 64, out: 24}}
"""
WIDE = ("--iterations", "4", "--threads", "1", "--db", "none.db")
QUICK = ("--iterations", "4", "--processes", "1", "--threads", "1", "--budget", "1")


def gemmbench(
    folder: Path, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(p for p in [*sys.path, str(TESTS)] if p)
    return subprocess.run(
        [sys.executable, "-c", "from gemmbench.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, **(env or {})},
        capture_output=True,
        text=True,
        timeout=300,
    )


def planted(name: str) -> str:
    return f"{TESTS / 'planted_network.py'}:{name}"


def network(
    folder: Path, suite: str, *arguments: str, env: dict[str, str] | None = None
) -> tuple[int, dict[str, Any], str]:
    (folder / "s.yaml").write_text(suite)
    done = gemmbench(folder, "network", "s.yaml", *QUICK, "--json", "-", *arguments, env=env)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, dict[str, Any], str]:
    folder = tmp_path_factory.mktemp("tiny")
    return folder, *network(folder, SUITE, "--backend", "blas")


def test_a_tiny_network_ends_right_and_says_the_share(
    tiny: tuple[Path, int, dict[str, Any], str],
) -> None:
    _, code, data, text = tiny
    assert code == 0
    assert data["max_error"] <= data["error_bound"] < 1e-3
    assert 0 < data["conv_fc_share"] < 1
    assert "conv + fc:" in text
    assert "per image" in text
    assert "per batch of 2" in text


def test_the_json_has_the_shape_that_other_programs_rely_on(
    tiny: tuple[Path, int, dict[str, Any], str],
) -> None:
    data = tiny[2]
    promised = {
        "schema", "layers", "pass_seconds", "images_per_second", "conv_fc_share",
        "sum_of_layers_over_pass", "max_error", "error_bound",
    }  # fmt: skip
    assert promised <= set(data)
    assert data["schema"] == 1
    assert [layer["layer"] for layer in data["layers"]][:3] == ["conv", "relu", "norm"]
    assert data["layers"][6]["from"] == ["left", "right"]
    assert data["layers"][6]["output"] == [2, 4, 5, 5]
    assert data["images_per_second"] == pytest.approx(2 / data["pass_seconds"])
    assert {layer["backend"] for layer in data["layers"]} == {"blas", None}
    assert data["pass"]["samples"] == 4
    assert all(layer["error_over_bound"] <= 1 for layer in data["layers"])


def test_the_layers_of_a_pass_add_up_to_it(tiny: tuple[Path, int, dict[str, Any], str]) -> None:
    data = tiny[2]
    total = sum(layer["seconds"]["average"] for layer in data["layers"])
    assert total <= data["pass"]["average"]
    assert sum(layer["share"] for layer in data["layers"]) == pytest.approx(
        total / data["pass"]["average"]
    )


def test_a_stored_winner_is_not_raced_again(tiny: tuple[Path, int, dict[str, Any], str]) -> None:
    folder, _, first, _ = tiny
    code, again, _ = network(folder, SUITE, "--backend", "blas", "--processes", "2")
    assert code == 0
    assert not any(layer["stored"] for layer in first["layers"])
    products = [layer for layer in again["layers"] if layer["backend"]]
    assert all(layer["stored"] for layer in products)
    assert again["pass"]["processes"] == 2


@pytest.mark.parametrize("style", ["markdown", "csv", "json"])
def test_every_format_lists_every_layer(
    tiny: tuple[Path, int, dict[str, Any], str], style: str
) -> None:
    done = gemmbench(tiny[0], "network", "s.yaml", *QUICK, "--backend", "blas", "--format", style)
    assert done.returncode == 0, done.stderr
    if style == "csv":
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert [row["layer"] for row in rows][-1] == "prob"
    elif style == "json":
        assert len(json.loads(done.stdout)["layers"]) == 13
    else:
        assert done.stdout.count("\n| ") >= 13


def test_the_kernels_of_gemmbench_run_a_pass_on_prepared_weights(tmp_path: Path) -> None:
    code, data, text = network(
        tmp_path, ROWS, "--backend", "numba", "--weights", "prepared", "--threads", "2"
    )
    assert code == 0, text
    assert [layer["weights"] for layer in data["layers"]] == ["prepared", None, "prepared"]


def test_a_layer_that_is_wrong_in_the_pass_ends_it_with_5_and_is_named(tmp_path: Path) -> None:
    code, data, text = network(tmp_path, ROWS, "--backend", planted("WrongAfterRelu"))
    assert code == 5
    assert data["failure"]["layer"] == "fc2"
    assert data["failure"]["state"] == "WRONG"
    assert data["pass_seconds"] is None
    assert "WRONG in layer 'fc2'" in text


@pytest.mark.parametrize(
    ("name", "reason"),
    [("AbortsAfterRelu", "SIGABRT"), ("HangsAfterRelu", "timed out after 3 s")],
)
def test_a_layer_that_breaks_in_the_pass_ends_it_with_6_and_is_named(
    tmp_path: Path, name: str, reason: str
) -> None:
    code, data, _ = network(tmp_path, ROWS, "--backend", planted(name), "--timeout", "3")
    assert code == 6
    assert data["failure"]["layer"] == "fc2"
    assert reason in data["failure"]["reason"]


def test_an_answer_remembered_from_another_pass_is_wrong(tmp_path: Path) -> None:
    backend = ("--backend", planted("RemembersThePass"))
    code, _, text = network(tmp_path, ROWS, *backend)
    assert code == 0, text
    planted_now = {"GEMMBENCH_PLANTED_PASS": "1"}
    code, data, _ = network(tmp_path, ROWS, *backend, env=planted_now)
    assert code == 5
    assert data["failure"]["layer"] == "fc1"


def test_a_layer_that_does_nothing_while_it_is_timed_is_wrong(tmp_path: Path) -> None:
    backend = ("--backend", planted("IdlesWhileTimed"))
    code, _, text = network(tmp_path, ROWS, *backend)
    assert code == 0, text
    planted_now = {"GEMMBENCH_PLANTED_PASS": "1"}
    code, data, _ = network(tmp_path, ROWS, *backend, env=planted_now)
    assert code == 5
    assert data["failure"]["layer"] == "relu1"
    assert "in 'fc1')" in data["failure"]["reason"]  # whose answer the ReLU wrote over
    assert "a timed pass left another answer" in data["failure"]["reason"]


def test_a_backend_that_answers_in_its_own_memory_is_copied_from(tmp_path: Path) -> None:
    code, data, text = network(
        tmp_path, ROWS, "--backend", planted("AnswersElsewhere"), "--processes", "2"
    )
    assert code == 0, text
    assert data["pass"]["processes"] == 2


@pytest.mark.parametrize(
    ("suite", "arguments", "message"),
    [
        (ROWS, ("--backend", planted("Alone"), "--backend", planted("AloneToo")),
         "each bring a library that cannot share a process"),
        (ROWS.replace("in: 64", "in: 63"), (),
         "layers[2].from ('fc2'): reads 3×64, its own shape asks for 3×63."),
        (ROWS.replace("  - {name: relu1, relu: {}}\n", "").replace(
            "out: 24}", "out: 24}, count: 2"), (),
         "layer 'fc2': count: got 2, a network lists each of its layers. "
         "Write it that often"),
        (SUITE, ("--backend", planted("Honest")), "computes it"),
        (SUITE, ("--memory", "1K"), "needs at least 512M"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_pass_is_one_line_and_exit_2(
    tmp_path: Path, suite: str, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "s.yaml").write_text(suite)
    done = gemmbench(tmp_path, "network", "s.yaml", *QUICK, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_cheap_layers_are_not_raced(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SUITE)
    done = gemmbench(tmp_path, "run", "s.yaml", "--only", "relu", "--backend", "blas")
    assert done.returncode == 2
    assert "only cheap layers were chosen" in done.stderr


def test_a_backend_that_computes_no_product_of_a_kind_is_refused_before_anything_is_raced(
    tmp_path: Path,
) -> None:
    (tmp_path / "s.yaml").write_text(SUITE)
    done = gemmbench(tmp_path, "network", "s.yaml", *WIDE, "--backend", "fft")
    assert done.returncode == 2
    assert "layer 'fc': none of fft computes it" in done.stderr
    assert "only a convolution has a spectrum" in done.stderr
    assert not (tmp_path / "none.db").exists() or not _runs(tmp_path / "none.db")


def _runs(database: Path) -> int:
    import sqlite3

    with sqlite3.connect(database) as connection:
        (count,) = connection.execute("select count(*) from run").fetchone()
    return int(count)
