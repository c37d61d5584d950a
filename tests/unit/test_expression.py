"""Rules as text: what they mean, and what is refused."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemmbench.errors import GemmbenchError
from gemmbench.expression import parse_rule

AXES = {"mr": (0, 1, 2, 3, 5), "nv": (1, 2, 3), "order": ("rows", "panels"), "on": (False, True)}
ROWS = list(itertools.product(*AXES.values()))


def by_python(text: str, names: tuple[str, ...]) -> list[bool]:
    """What Python itself says; only for the texts below."""
    code = compile(text, "rule", "eval")
    whole = [dict(zip(AXES, row, strict=True)) for row in ROWS]
    return [bool(eval(code, {"min": min, "max": max}, row)) for row in whole]  # noqa: S307


RULES = [
    "mr * nv <= 6",
    "1 < mr <= nv",
    "mr == 0 or 6 % mr == 0",
    "mr != 0 and 6 // mr > nv",
    "mr / nv >= 1.5",
    "order == 'rows' or mr > 2",
    "order in ['rows', 'columns'] and mr not in (1, 3)",
    "(nv if on else mr) > 1",
    "not on and -mr < 0",
    "max(mr, nv, 2) - min(mr, nv) < 3",
    "on",
    "mr in {nv, 5}",
    "1 if mr else on",
]


@pytest.mark.parametrize("text", RULES)
def test_a_rule_means_what_python_means(text: str) -> None:
    rule = parse_rule(text, AXES, "here")
    columns = {name: np.array([row[i] for row in ROWS]) for i, name in enumerate(AXES)}
    assert rule.holds_all is not None
    together = rule.holds_all(*(columns[name] for name in rule.axes))
    one_by_one = [
        rule.holds(*(dict(zip(AXES, row, strict=True))[name] for name in rule.axes)) for row in ROWS
    ]
    assert together.tolist() == one_by_one == by_python(text, rule.axes)


@given(
    st.recursive(
        st.sampled_from(["mr", "nv", "1", "2", "7"]),
        lambda inner: st.builds(
            "({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "<", "=="]), inner
        ),
        max_leaves=8,
    ).filter(lambda text: "mr" in text or "nv" in text)
)
def test_any_arithmetic_means_what_python_means(text: str) -> None:
    rule = parse_rule(text, AXES, "here")
    values = {"mr": 3, "nv": 2}
    expected = bool(eval(text, {}, values))  # noqa: S307
    assert rule.holds(*(values[name] for name in rule.axes)) == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("__import__('os').system('true')", "is not allowed"),
        ("mr.__class__", "is not allowed"),
        ("(lambda: 1)()", "is not allowed"),
        ("[x for x in (1,)]", "is not allowed"),
        ("open('f')", "is not allowed"),
        ("mr ** nv", "is not allowed"),
        ("mr << 100000", "is not allowed"),
        ("f'{mr}'", "is not allowed"),
        ("mr := 3", "no expression"),
        ("mr <", "no expression"),
        ("", "no expression"),
        ("mr is 3", "'is' is not allowed"),
        ("mr in nv", "'in' is followed by a list"),
        ("min(mr)", "two or more"),
        ("max(*mr, 1)", "two or more"),
        ("orders > 1", "'orders' is no axis. Did you mean 'order'?"),
        ("3 < 4", "reads no axis"),
        ("mr > 1e30", "too large"),
        ("mr" + " + 1" * 200, "at most 500 characters"),
        ("mr\x00", "mr"),
    ],
)
def test_what_is_no_rule_is_refused_in_one_line_that_says_where(text: str, part: str) -> None:
    with pytest.raises(GemmbenchError) as caught:
        parse_rule(text, AXES, "mine.yaml: constraints[0]")
    line = str(caught.value)
    assert line.startswith("mine.yaml: constraints[0]: got ")
    assert part in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("6 % mr == 0", "divides by zero"),
        ("order > 3", "mixes text and numbers"),
        ("order + 1", "mixes text and numbers"),
        ("mr == 'rows'", "mixes text and numbers"),
        ("mr * 4000000000 * 4000000000 > 1", "too large"),
    ],
)
def test_a_rule_that_cannot_be_computed_says_why(text: str, part: str) -> None:
    rule = parse_rule(text, AXES, "mine.yaml: constraints[0]")
    columns = [np.array(AXES[name]) for name in rule.axes]
    assert rule.holds_all is not None
    with pytest.raises(GemmbenchError, match=f"^mine.yaml: constraints.*{part}"):
        rule.holds_all(*columns)
