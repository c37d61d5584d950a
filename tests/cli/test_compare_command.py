"""`gemmbench compare` end to end: real processes, tiny convolutions."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from test_run import gemmbench

SUITE = """
suite: tiny
description: Two small convolutions
source: made up for the tests
defaults: {dtype: float32, batch: 2}
layers:
  - {name: c1, conv2d: {in: [4, 10, 10], out: 8, kernel: 3, pad: 1}}
  - {name: g, gemm: 8x9x10}
"""
QUICK = ("--processes", "1", "--threads", "1", "--budget", "1")
TWO = ("--backend", "blas", "--backend", "fft")


def compare(folder: Path, *arguments: str) -> dict[str, Any]:
    (folder / "tiny.yaml").write_text(SUITE)
    done = gemmbench(folder, "compare", "tiny.yaml", *QUICK, *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(scope="module")
def data(folder: Path) -> dict[str, Any]:
    return compare(folder, *TWO)


def test_every_convolution_has_every_algorithm_with_stages_and_bytes(data: dict[str, Any]) -> None:
    (layer,) = data["layers"]
    assert (layer["layer"], layer["im2col_expansion"]) == ("c1", 9.0)
    rows = {row["algorithm"]: row for row in layer["rows"]}
    assert set(rows) == {"im2col", "fft", "fft-full"}
    assert rows["fft-full"]["state"] == "SKIPPED", "a missing algorithm is told with its reason"
    assert "with stride 1 it is fft" in rows["fft-full"]["reason"]
    assert set(rows["im2col"]["stages"]) == {"im2col", "multiply"}
    assert rows["im2col"]["workspace_bytes"] > 0
    assert rows["im2col"]["stage_sum_over_total"] > 0
    assert rows["im2col"]["peak_memory_bytes"] > rows["im2col"]["workspace_bytes"]
    assert rows["im2col"]["roofline"]["bound"] in ("compute", "memory")
    assert layer["verdicts"][0]["kind"] in ("winner", "tie", "undecided")


def test_a_second_comparison_reuses_the_first_only_when_asked_to(
    folder: Path, data: dict[str, Any]
) -> None:
    again = compare(folder, *TWO, "--reuse")
    assert again["run"] is None
    assert again["layers"][0]["reused_from_run"] == data["run"]["number"]
    assert again["layers"][0]["rows"] == data["layers"][0]["rows"]
    done = gemmbench(folder, "compare", "tiny.yaml", *QUICK, *TWO, "--reuse")
    assert "taken from run" in done.stdout
    other = compare(folder, *TWO, "--reuse", "--fill", "integers")
    assert other["layers"][0]["reused_from_run"] is None


def test_a_sweep_says_of_every_point_who_wins_or_why_not(tmp_path: Path) -> None:
    sweep = ("--backend", "blas", "--sweep", "kernel=1,3", "--sweep", "groups=1,3")
    found = compare(tmp_path, *sweep, "--budget", "60")
    assert found["axes"] == {"kernel": [1, 3], "groups": [1, 3]}
    states = {(p["kernel"], p["groups"]): p["state"] for p in found["points"]}
    assert states == {
        (1, 1): "measured", (1, 3): "left out", (3, 1): "measured", (3, 3): "left out",
    }  # fmt: skip
    assert all(bool(p["reason"]) == (p["state"] == "left out") for p in found["points"])


@pytest.mark.parametrize(
    ("by", "settings"), [("fill", ["zeros", "integers", "denormal"]), ("cache", ["cold"])]
)
def test_settings_are_raced_against_the_same_contender(
    tmp_path: Path, by: str, settings: list[str]
) -> None:
    found = compare(tmp_path, "--by", by, "--backend", "blas", "--only", "g")
    assert [ratio["setting"] for ratio in found["ratios"]] == settings
    for ratio in found["ratios"]:
        assert ratio["low"] <= ratio["ratio"] <= ratio["high"]
        assert (ratio["cold"] is not None) is (by == "cache")
    assert len(found["runs"]) == len(settings) + 1


def test_markdown_takes_no_name_for_markup(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE.replace("name: c1", 'name: "*c|1*"'))
    arguments = ("--backend", "blas", "--backend", "fft", "--format", "markdown")
    done = gemmbench(tmp_path, "compare", "tiny.yaml", *QUICK, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(r"\*c\|1\*") > 2  # in the table, and in what is said of it
    assert "*c|1*" not in done.stdout


def test_csv_has_a_row_an_algorithm(folder: Path, data: dict[str, Any]) -> None:
    done = gemmbench(folder, "compare", "tiny.yaml", *QUICK, *TWO, "--reuse", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["layer"], row["algorithm"]) for row in rows] == [
        ("c1", row["algorithm"]) for row in data["layers"][0]["rows"]
    ]
    timed = [row for row in rows if row["state"] == "COMPLETE"]
    assert all(float(row["seconds.median"]) > 0 for row in timed)
    assert [row["algorithm"] for row in rows if row not in timed] == ["fft-full"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sweep", "kernel=1", "--by", "backend"), "--by"),
        (("--by", "fill", "--fill", "zeros"), "--fill"),
        (("--by", "cache", "--cache", "cold"), "--cache"),
        (("--by", "cache", "--reuse"), "--reuse"),
        (("--tune", "force", "--reuse"), "--reuse"),
        (("--sweep", "kernle=1"), "--sweep"),
        (("--only", "g"), "no convolution"),
    ],
)
def test_what_contradicts_itself_is_one_line_and_exit_two(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    done = gemmbench(tmp_path, "compare", "tiny.yaml", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ((), ["  c1 ", "1 threads of", "hot cache, uniform operands", "tune stored", "about 1 s"]),
        (("--by", "fill", "--only", "g"), ["  g ", "uniform and zeros and integers and denormal"]),
        (("--by", "cache"), ["hot and cold cache, uniform operands"]),
        (("--sweep", "kernel=1,3"), ["shapes around c1:", "kernel=1", "kernel=3"]),
    ],
)
def test_a_dry_run_prints_what_would_be_raced_and_writes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], printed: list[str]
) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    asked = (*QUICK, *arguments, "--backend", "blas", "--dry-run")
    done = gemmbench(tmp_path, "compare", "tiny.yaml", *asked)
    assert done.returncode == 0, done.stderr
    for text in (*printed, "backends: blas\n"):
        assert text in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_a_sweep_without_a_coarse_point_races_what_there_is(tmp_path: Path) -> None:
    sweep = ("--backend", "blas", "--sweep", "groups=3,2,5", "--budget", "60")
    found = compare(tmp_path, *sweep)
    assert {p["groups"]: p["state"] for p in found["points"]} == {
        3: "left out", 2: "measured", 5: "left out",
    }  # fmt: skip


def test_a_dry_run_does_not_upgrade_an_older_database(folder: Path, data: dict[str, Any]) -> None:
    old = folder / "old.db"
    old.write_bytes((Path(__file__).parents[1] / "golden" / "schema_0001.db").read_bytes())
    before = old.read_bytes()
    asked = (*QUICK, *TWO, "--reuse", "--dry-run", "--db", str(old))
    done = gemmbench(folder, "compare", "tiny.yaml", *asked)
    assert (done.returncode, old.read_bytes()) == (0, before)
    assert "has revision 0001" in done.stdout


def test_a_dry_run_says_what_would_be_reused(folder: Path, data: dict[str, Any]) -> None:
    asked = (*QUICK, *TWO, "--reuse", "--dry-run")
    done = gemmbench(folder, "compare", "tiny.yaml", *asked)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("c1: would be taken from run ")


def test_both_lowerings_of_a_batch_are_compared_and_the_gain_is_said(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    asked = ("--backend", "blas", "--batch-lowering", "both", "--by", "contender")
    done = gemmbench(tmp_path, "compare", "tiny.yaml", *QUICK, *asked)
    assert done.returncode == 0, done.stderr
    assert "c1: blas im2col: one GEMM for all 2 images is " in done.stdout


def test_a_lowering_that_is_asked_for_is_not_reused(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    asked = ("--reuse", "--batch-lowering", "whole")
    done = gemmbench(tmp_path, "compare", "tiny.yaml", *QUICK, *asked)
    assert done.returncode == 2
    assert "--reuse: --batch-lowering whole is raced afresh." in done.stderr
