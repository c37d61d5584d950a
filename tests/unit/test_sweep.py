import pytest

from gemmbench.errors import GemmbenchError
from gemmbench.problem import Conv2d
from gemmbench.sweep import Axis, coarse, make_grid, parse_axis, refine

BASE = Conv2d(2, 16, 27, 27, 32, (3, 3))
LINE = make_grid(BASE, [Axis("kernel", (1, 3, 5, 7, 9, 11, 13))])


def points(*values):
    return [(value,) for value in values]


def test_an_axis_is_a_name_and_integers_in_order():
    assert parse_axis("kernel=5,1, 3,3") == Axis("kernel", (1, 3, 5))


@pytest.mark.parametrize("text", ["kernle=1", "kernel", "kernel=", "kernel=1,x", "kernel=1.5"])
def test_any_other_axis_is_refused_with_what_is_allowed(text):
    with pytest.raises(GemmbenchError, match="--sweep: got"):
        parse_axis(text)


def test_a_swept_kernel_keeps_the_size_of_the_output():
    assert {problem.output_size() for problem in LINE.problems.values()} == {(27, 27)}


def test_a_swept_pad_is_the_pad():
    grid = make_grid(BASE, [Axis("kernel", (3, 5)), Axis("pad", (0,))])
    assert {problem.pad for problem in grid.problems.values()} == {(0, 0)}


def test_size_out_and_channels_name_the_fields_of_a_convolution():
    grid = make_grid(BASE, [Axis("size", (13,)), Axis("out", (8,)), Axis("channels", (4,))])
    (problem,) = grid.problems.values()
    assert (problem.height, problem.width, problem.filters, problem.channels) == (13, 13, 8, 4)
    assert grid.label((13, 8, 4)) == "size=13 out=8 channels=4"


def test_what_cannot_be_a_convolution_is_left_out_with_the_reason():
    grid = make_grid(BASE, [Axis("groups", (1, 3))])
    assert list(grid.problems) == points(1)
    assert "does not divide" in grid.left_out[(3,)]


def test_a_grid_without_a_convolution_is_refused():
    with pytest.raises(GemmbenchError, match="no combination can be computed"):
        make_grid(BASE, [Axis("groups", (3,))])


def test_an_axis_given_twice_and_a_huge_grid_are_refused():
    with pytest.raises(GemmbenchError, match="given twice"):
        make_grid(BASE, [Axis("batch", (1,)), Axis("batch", (2,))])
    with pytest.raises(GemmbenchError, match="at most"):
        make_grid(BASE, [Axis("batch", tuple(range(1, 30))), Axis("size", tuple(range(9, 40)))])


def test_the_coarse_grid_has_the_ends_and_every_second_value():
    assert coarse(LINE) == points(1, 5, 9, 13)
    two = make_grid(BASE, [Axis("kernel", (1, 3)), Axis("stride", (1, 2, 4))])
    assert coarse(two) == [(1, 1), (1, 4), (3, 1), (3, 4)]


def test_between_neighbours_that_agree_the_winner_is_inferred():
    winners = dict(zip(points(1, 5, 9, 13), ["direct", "fft", "fft", "fft"], strict=True))
    todo, inferred = refine(LINE, winners, {})
    assert todo == points(3)
    assert inferred == {(7,): "fft", (11,): "fft"}


def test_beside_a_point_without_a_winner_everything_is_measured():
    winners = dict(zip(points(1, 5, 9, 13), ["direct", "", "fft", "fft"], strict=True))
    todo, inferred = refine(LINE, winners, {})
    assert todo == points(3, 7)
    assert inferred == {(11,): "fft"}


def test_a_point_is_only_inferred_where_both_directions_agree():
    grid = make_grid(BASE, [Axis("kernel", (1, 3, 5)), Axis("stride", (1, 2, 4))])
    corners = {(1, 1): "direct", (5, 1): "fft", (1, 4): "direct", (5, 4): "direct"}
    todo, inferred = refine(grid, corners, {})
    assert inferred == {
        (1, 2): "direct",
        (3, 4): "direct",
    }
    assert set(todo) == {(3, 1), (5, 2)}  # what lies behind them waits for them


def test_everything_measured_or_inferred_ends_the_sweep():
    todo, inferred = refine(LINE, dict.fromkeys(LINE.problems, "fft"), {})
    assert (todo, inferred) == ([], {})


def test_what_no_neighbours_enclose_is_measured():
    grid = make_grid(BASE, [Axis("batch", (1, 2))])
    todo, _ = refine(grid, {(1,): "fft"}, {})
    assert todo == points(2)


def test_where_something_else_can_be_raced_nothing_is_inferred():
    ways = {point: frozenset({"numba im2col"}) for point in LINE.problems}
    ways[(3,)] |= {"numba winograd"}
    winners = dict.fromkeys(points(1, 5, 9, 13), "im2col")
    todo, inferred = refine(LINE, winners, ways)
    assert todo == points(3)
    assert inferred == dict.fromkeys(points(7, 11), "im2col")
