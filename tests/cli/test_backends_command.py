"""`gemmbench backends`: which there are, what they offer, and why one cannot be used."""

import json
from pathlib import Path

from click.testing import CliRunner

from gemmbench.algorithm import ALGORITHMS
from gemmbench.cli import cli

PLANTED = Path(__file__).parents[1] / "planted.py"
ONLY_DEPTHWISE = """
class Depthwise:
    name = "depthwise-only"

    def unavailable(self):
        return None

    def supports(self, problem):
        deep = problem.kind == "conv2d" and problem.groups == problem.channels
        return None if deep else "only depthwise layers"

    def algorithms(self, problem):
        return {"mine": ("plain",)}

    def search_space(self, problem, machine, choice):
        return None

    def prepare(self, problem, config, operands):
        raise NotImplementedError
"""


def listed(*specs: str) -> list[dict[str, str]]:
    words = [word for spec in specs for word in ("--backend", spec)]
    done = CliRunner().invoke(cli, ["backends", *words, "--format", "json"])
    assert done.exit_code == 0, done.output
    rows: list[dict[str, str]] = json.loads(done.stdout)["backends"]
    return rows


def test_all_algorithms_are_listed_whatever_layer_they_are_for() -> None:
    numba, fft = (row["algorithms"].split(", ") for row in listed("numba", "fft"))
    products = {"gemm", "im2col", "implicit-gemm"}
    assert set(numba) == products | {"direct", "depthwise", "fft", "winograd"}
    assert fft == ["fft", "fft-full"]
    assert set(numba) | set(fft) <= set(ALGORITHMS)


def test_a_kernel_for_one_kind_of_layer_is_listed_with_its_algorithm(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ONLY_DEPTHWISE)
    (row,) = listed(f"{tmp_path / 'mine.py'}:Depthwise")
    assert (row["status"], row["algorithms"]) == ("usable", "mine")


def test_a_backend_that_breaks_when_asked_is_broken_and_says_why() -> None:
    (row,) = listed(f"{PLANTED.with_name('planted_abort.py')}:Aborts")
    assert row["status"] == "broken"
    assert "SIGABRT" in row["reason"]
