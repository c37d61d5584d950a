import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemmbench.errors import GemmbenchError
from gemmbench.space import Axis, Constraint, SearchSpace, space_from_data, space_to_data


def every_combination(axes):
    names = [axis.name for axis in axes]
    return [
        dict(zip(names, row, strict=True)) for row in itertools.product(*(a.values for a in axes))
    ]


def is_valid(config, constraints):
    return all(c.holds(*(config[name] for name in c.axes)) for c in constraints)


@st.composite
def spaces(draw):
    """A space of up to four axes and three constraints, with any valid config as its default."""
    count = draw(st.integers(1, 4))
    axes = tuple(
        Axis(
            f"axis{i}",
            tuple(draw(st.lists(st.integers(0, 20), min_size=1, max_size=4, unique=True))),
        )
        for i in range(count)
    )
    constraints = []
    for i in range(draw(st.integers(0, 3))):
        names = draw(st.lists(st.sampled_from([a.name for a in axes]), min_size=1, unique=True))
        modulus, forbidden = draw(st.integers(2, 4)), draw(st.integers(0, 3))

        def holds(*values, modulus=modulus, forbidden=forbidden):
            return sum(values) % modulus != forbidden

        constraints.append(Constraint(f"rule{i}", tuple(names), holds))
    valid = [config for config in every_combination(axes) if is_valid(config, constraints)]
    default = draw(st.sampled_from(valid)) if valid else None
    return axes, default, tuple(constraints)


def legal(parts):
    return parts[1] is not None


@given(spaces().filter(legal))
def test_iteration_equals_the_filtered_product_in_its_order(parts):
    axes, default, constraints = parts
    space = SearchSpace(axes, default, constraints)
    expected = [config for config in every_combination(axes) if is_valid(config, constraints)]
    assert list(space) == expected
    assert space.size() == len(expected)


@given(spaces().filter(legal))
def test_exactly_the_valid_configs_are_in_the_space(parts):
    axes, default, constraints = parts
    space = SearchSpace(axes, default, constraints)
    for config in every_combination(axes):
        assert (config in space) == is_valid(config, constraints)
        assert (space.rejected_by(config) is None) == is_valid(config, constraints)


@given(spaces().filter(legal))
def test_the_default_is_one_of_the_configs(parts):
    space = SearchSpace(*parts)
    assert space.default in space
    assert space.default in list(space)


@given(spaces().filter(legal))
def test_a_space_survives_json_without_its_constraints(parts):
    space = SearchSpace(*parts)
    again = space_from_data(json.loads(json.dumps(space_to_data(space))))
    assert list(again) == list(space)
    assert again.default == space.default
    assert again.axes == space.axes
    for config in every_combination(space.axes):
        assert (config in again) == (config in space)


def test_enumeration_never_descends_below_a_broken_constraint():
    asked = []

    def small(tile):
        asked.append(tile)
        return tile <= 2

    def fits(tile, unroll):
        asked.append((tile, unroll))
        return True

    space = SearchSpace(
        (Axis("tile", (1, 2, 3, 4)), Axis("unroll", (1, 2))),
        {"tile": 1, "unroll": 1},
        (Constraint("small", ("tile",), small), Constraint("fits", ("tile", "unroll"), fits)),
    )
    asked.clear()
    assert space.size() == 4
    assert asked == [1, 2, 3, 4, (1, 1), (1, 2), (2, 1), (2, 2)]


@given(spaces().filter(legal))
def test_what_is_rejected_and_what_is_left_add_up(parts):
    space = SearchSpace(*parts)
    rejections = space.rejections()
    assert list(rejections) == [constraint.name for constraint in space.constraints]
    assert sum(rejections.values()) + space.size() == space.combinations()


@given(spaces().filter(legal))
def test_rows_are_the_configs_as_value_indices(parts):
    space = SearchSpace(*parts)
    assert [space.config(row) for row in space.rows()] == list(space)


def test_a_listed_space_counts_what_it_leaves_out():
    space = SearchSpace((Axis("a", (1, 2, 3)), Axis("b", (1, 2))), {"a": 1, "b": 1}, (odd,))
    again = space_from_data(space_to_data(space))
    assert space.rejections() == {"odd": 2}
    assert again.rejections() == {"odd": 2}
    rows = SearchSpace(space.axes, space.default, listed=space.rows())
    assert rows.rejections() == {"listed": 2}
    assert again.rejected_by({"a": 2, "b": 1}) == "listed"


def test_a_sample_of_a_large_space_holds_the_default():
    space = SearchSpace((Axis("a", tuple(range(100))),), {"a": 57})
    for most in range(1, 30):
        few = space_from_data(space_to_data(space, most))
        assert few.default in few
        assert most <= few.size() <= most + 1


def test_a_constraint_is_asked_once_about_each_combination_of_its_axes():
    asked = []

    def fits(a, c):
        asked.append((a, c))
        return a != c

    axes = tuple(Axis(name, tuple(range(8))) for name in "abcde")
    space = SearchSpace(
        axes,
        dict(zip("abcde", (0, 0, 1, 0, 0), strict=True)),
        (Constraint("fits", ("a", "c"), fits),),
    )
    asked.clear()
    assert space.size() == 8**5 - 8**4
    assert sorted(asked) == sorted(set(asked))
    assert len(asked) == 64


def test_large_spaces_are_enumerated_in_blocks(monkeypatch):
    monkeypatch.setattr("gemmbench.space.BLOCK_ROWS", 10)
    monkeypatch.setattr("gemmbench.space.KNOWN_ANSWERS", 3)
    axes = tuple(Axis(name, tuple(range(5))) for name in "abc")
    rule = Constraint("sum", ("a", "b", "c"), lambda a, b, c: (a + b + c) % 3 == 0)
    space = SearchSpace(axes, {"a": 0, "b": 0, "c": 0}, (rule,))
    expected = [c for c in every_combination(axes) if is_valid(c, (rule,))]
    assert list(space) == expected


@pytest.mark.parametrize(
    ("axis", "part"),
    [
        (("a", (1, 2), "power"), "is of the kind 'power'. Did you mean 'pow2'?"),
        (("a", (1, 0), "pow2"), "got 0, expected powers of two"),
        (("a", (True, 2), "pow2"), "got True, expected powers of two"),
        (("a", ("no", "yes"), "boolean"), "expected false and true"),
    ],
)
def test_values_that_do_not_suit_their_kind_are_refused(axis, part):
    with pytest.raises(GemmbenchError, match=part):
        Axis(*axis)


def test_the_broken_constraint_is_named():
    space = SearchSpace(
        (Axis("tile", (8, 16)),),
        {"tile": 8},
        (Constraint("fits in L1", ("tile",), lambda tile: tile < 16),),
    )
    assert space.rejected_by({"tile": 16}) == "fits in L1"
    assert space.rejected_by({"tile": 8}) is None


@pytest.mark.parametrize(
    "config", [{}, {"tile": 3}, {"tile": 8, "other": 1}, {"other": 8}, 8, "tile", None]
)
def test_what_is_no_config_of_the_space_is_not_in_it(config):
    assert config not in SearchSpace((Axis("tile", (8, 16)),), {"tile": 8})


def test_changing_a_config_leaves_the_enumeration_alone():
    space = SearchSpace((Axis("a", (1, 2)), Axis("b", (1, 2))), {"a": 1, "b": 1})
    seen = []
    for config in space:
        seen.append(dict(config))
        config.clear()
    assert len(seen) == 4
    assert all(set(config) == {"a", "b"} for config in seen)


odd = Constraint("odd", ("a",), lambda a: a % 2 == 1)
tile = Axis("tile", (8, 16))
never = Constraint("never", ("tile",), lambda tile: False)


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        (
            ((tile,), {"tile": 3}),
            "search space: default tile=3 is not on its axis [8, 16].",
        ),
        (((tile,), {}), "search space: default tile=None is not on its axis [8, 16]."),
        (
            ((tile,), {"tile": 8, "unroll": 2}),
            "search space: the default has ['unroll'], the axes are ['tile'].",
        ),
        (
            ((tile,), {"tile": 8}, (never,)),
            "search space: the default config breaks 'never'.",
        ),
        (
            ((tile,), {"tile": 8}, (Constraint("fits", ("tile", "depth"), min),)),
            "search space: constraint 'fits' reads ['depth'], the axes are ['tile'].",
        ),
        (
            ((tile,), {"tile": 8}, (Constraint("nothing", (), bool),)),
            "search space: constraint 'nothing' reads [], the axes are ['tile'].",
        ),
        (
            ((tile, tile), {"tile": 8}),
            "search space: an axis is named twice in ['tile', 'tile'].",
        ),
        (
            ((Axis("tile", (8, 8)),), {"tile": 8}),
            "search space: axis 'tile' lists a value twice in [8, 8].",
        ),
    ],
)
def test_a_space_that_contradicts_itself_is_refused(parts, line):
    with pytest.raises(GemmbenchError) as caught:
        SearchSpace(*parts)
    assert str(caught.value) == line
