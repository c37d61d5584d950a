import pytest

from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.problem import ProblemError


@pytest.mark.parametrize(
    ("given", "choices", "expected"),
    [
        pytest.param("kernal", ["in", "out", "kernel"], " Did you mean 'kernel'?", id="near"),
        pytest.param("kernel", ["kernels", "kernel"], " Did you mean 'kernel'?", id="exact"),
        pytest.param("zzz", ["b", "a", "b"], " Choose from a, b.", id="far, sorted, once each"),
        pytest.param("zzz", [], "", id="nothing to choose from"),
        pytest.param("", ["a"], " Choose from a.", id="nothing given"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest_or_with_all(given, choices, expected):
    assert did_you_mean(given, choices) == expected


def test_ten_choices_are_listed_in_full():
    assert did_you_mean("?", "abcdefghij") == " Choose from a, b, c, d, e, f, g, h, i, j."


def test_more_than_ten_choices_are_cut_and_counted():
    assert (
        did_you_mean("?", "abcdefghijkl") == " Choose from a, b, c, d, e, f, g, h, i, j and 2 more."
    )


def test_a_problem_error_is_caught_as_the_one_error_of_gemmbench():
    with pytest.raises(GemmbenchError, match=r"^stride: got 0\.$"):
        raise ProblemError("stride", "got 0.")
