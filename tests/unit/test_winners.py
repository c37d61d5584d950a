"""The stored winners as a table: who won, read as people say it."""

from example_trials import MACHINE, trial

from gemmbench.problem import Gemm
from gemmbench.trial import Contender, readable
from gemmbench_results.report.winners import Winner, winners_data, winners_table

PROBLEM = Gemm(8, 8, 8)


def winner(contender: Contender, *unraced: str) -> Winner:
    return Winner("conv1", trial("conv1", PROBLEM, contender, 0.01), "winner", 3, unraced)


def test_a_backend_that_is_called_like_its_algorithm_is_named_once() -> None:
    prepared = Contender("fft", "fft", "prepared")
    table = winners_table([winner(prepared, "fft fft", "fft fft-full", "blas im2col")])
    assert "fft prepared" in table
    assert "fft fft prepared" not in table
    assert "fft on conv1, fft fft-full on conv1, blas im2col on conv1" in table
    assert "fft fft on" not in table


def test_programs_are_told_backend_and_algorithm_apart() -> None:
    (told,) = winners_data([winner(Contender("fft", "fft"), "fft fft")], MACHINE)["winners"]
    assert (told["backend"], told["algorithm"], told["unraced"]) == ("fft", "fft", ["fft fft"])


def test_a_label_of_two_names_stays_as_it_is() -> None:
    labels = ("numba im2col prepared", "fft fft-full", "fft:mkl fft", "cupy ", "./my k.py:K gemm")
    assert [readable(label) for label in labels] == list(labels)
