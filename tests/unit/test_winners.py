"""The stored winners as a table: who won, read as people say it."""

from dataclasses import replace

from example_trials import MACHINE, trial

from gemmbench.cli.best import nothing_stored
from gemmbench.cli.given import Given
from gemmbench.problem import Gemm
from gemmbench.trial import Contender, readable
from gemmbench_results.report.winners import (
    Winner,
    winners_data,
    winners_header,
    winners_table,
)

PROBLEM = Gemm(8, 8, 8)
AGAIN = "gemmbench run warden --threads 1"


def winner(contender: Contender, *unraced: str) -> Winner:
    return Winner("conv1", trial("conv1", PROBLEM, contender, 0.01), "winner", 3, unraced)


def test_a_backend_that_is_called_like_its_algorithm_is_named_once() -> None:
    prepared = Contender("fft", "fft", "prepared")
    table = winners_table([winner(prepared, "fft fft", "fft fft-full", "blas im2col")], AGAIN)
    assert "fft prepared" in table
    assert "fft fft prepared" not in table
    assert "fft on conv1, fft fft-full on conv1, blas im2col on conv1" in table
    assert "fft fft on" not in table
    assert table.endswith(f"To decide: {AGAIN}")


def test_nothing_stored_of_some_layers_suggests_to_tune_just_those() -> None:
    told = nothing_stored("mine.yaml", Given(only=("conv1", "fc*")), 2)
    assert told.endswith("Run: gemmbench tune mine.yaml --only conv1 --only 'fc*'")


def test_programs_are_told_backend_and_algorithm_apart() -> None:
    (told,) = winners_data([winner(Contender("fft", "fft"), "fft fft")], MACHINE)["winners"]
    assert (told["backend"], told["algorithm"], told["unraced"]) == ("fft", "fft", ["fft fft"])


def test_a_label_of_two_names_stays_as_it_is() -> None:
    labels = ("numba im2col prepared", "fft fft-full", "fft:mkl fft", "cupy ", "./my k.py:K gemm")
    assert [readable(label) for label in labels] == list(labels)


def test_it_is_said_which_run_each_figure_is_of_where_there_are_several() -> None:
    one = winner(Contender("numba", "gemm"))
    (header, _, row, *notes) = winners_table([one], AGAIN).splitlines()
    assert (header.split()[:5], row.split()[-2:]) == (
        ["layer", "contender", "ms", "in", "run"], ["3", "winner"],
    )  # fmt: skip
    assert notes == [], "all figures are of one run"
    other = replace(winner(Contender("blas", "gemm")), layer="fc6", run=5, beside=(3, 1))
    text = winners_table([one, other], AGAIN)
    assert "times of different runs cannot be compared" in text
    assert "Results that rest on races of other runs, too: fc6 (run 3, 1)." in text
    data = winners_data([one, other], MACHINE, ["fc7"])
    assert [told["beside"] for told in data["winners"]] == [[], [3, 1]]
    assert data["without_race"] == ["fc7"]


def test_a_header_names_the_run_and_the_layers_that_have_none() -> None:
    text = winners_header([winner(Contender("numba", "gemm"))], MACHINE, "alexnet", ["fc7"])
    assert "winner, run 3 */" in text
    assert "/* no race is stored of FC7 */" in text
