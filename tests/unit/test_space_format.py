"""Space files: what they become, and errors that say where."""

import json
from pathlib import Path

import pytest

from gemmbench.errors import GemmbenchError
from gemmbench.space_format import load_space

GOOD = """\
axes:
  mr: [1, 2, 3, 4, 6, 8]
  kc: {pow2: [64, 128, 256]}
  order: {categorical: [rows, panels]}
  prefetch: {boolean: [false, true]}
  alpha: [0.5, 1.0]
constraints:
  - mr * kc <= 512
  - {name: rows only unless small, rule: order == 'rows' or mr < 3}
default: {mr: 2, kc: 128, order: rows, prefetch: false, alpha: 1.0}
"""


def load(tmp_path: Path, text: str):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return load_space(path)


def test_a_file_becomes_a_space(tmp_path: Path) -> None:
    space = load(tmp_path, GOOD)
    assert [(axis.name, axis.kind) for axis in space.axes] == [
        ("mr", "ordered"),
        ("kc", "pow2"),
        ("order", "categorical"),
        ("prefetch", "boolean"),
        ("alpha", "ordered"),
    ]
    assert space.combinations() == 6 * 3 * 2 * 2 * 2
    expected = [
        config
        for config in ((m, k, o) for m in (1, 2, 3, 4, 6, 8) for k in (64, 128, 256) for o in "rp")
        if config[0] * config[1] <= 512 and (config[2] == "r" or config[0] < 3)
    ]
    assert space.size() == 4 * len(expected)
    assert [c.name for c in space.constraints] == ["mr * kc <= 512", "rows only unless small"]
    assert space.default["alpha"] == 1.0


def test_the_first_valid_config_stands_in_for_a_default(tmp_path: Path) -> None:
    space = load(tmp_path, "axes:\n  a: [1, 2, 3]\n  b: [1, 2]\nconstraints:\n  - a * b > 3\n")
    assert space.default == {"a": 2, "b": 2}


def test_json_is_read_alike(tmp_path: Path) -> None:
    data = {"axes": {"a": [1, 2], "b": {"boolean": [False, True]}}, "constraints": ["a > 1 or b"]}
    assert load(tmp_path, json.dumps(data)).size() == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[]", "mine.yaml: expected a mapping with the keys axes, constraints, default."),
        ("axis: {}", "mine.yaml: unknown key 'axis'. Did you mean 'axes'?"),
        ("default: {}", "mine.yaml: the key 'axes' is missing."),
        ("axes: []", "mine.yaml: axes: expected a mapping of axis names to lists of values."),
        ("axes: {a: 3}", "mine.yaml: axes.a: expected a list of values."),
        ("axes: {a: []}", "mine.yaml: axes.a: got [], expected at least one value."),
        (
            "axes: {a: [1, yes]}",
            'mine.yaml: axes.a[1]: got yes, which YAML does not read as text. Quote it: "yes".',
        ),
        (
            "axes: {a: [011]}",
            'mine.yaml: axes.a[0]: got 011, which YAML does not read as text. Quote it: "011".',
        ),
        ("axes: {a: [[1]]}", "mine.yaml: axes.a[0]: expected a number, text, true or false."),
        (
            "axes: {a: {pow2: [3]}}",
            "mine.yaml: axes.a.pow2: search space: axis 'a' is of the kind 'pow2': got 3, "
            "expected powers of two.",
        ),
        (
            "axes: {a: {boolean: [2]}}",
            "mine.yaml: axes.a.boolean: search space: axis 'a' is of the kind 'boolean': "
            "got [2], expected false and true.",
        ),
        ("axes: {a: {pow: [1]}}", "mine.yaml: axes.a: unknown key 'pow'. Did you mean 'pow2'?"),
        (
            "axes: {a: [1, 1]}",
            "mine.yaml: search space: axis 'a' lists a value twice in [1, 1].",
        ),
        (
            "axes: {a: [1]}\nconstraints: [a > 1]",
            "mine.yaml: no config satisfies all of its constraints.",
        ),
        (
            "axes: {a: [1]}\nconstraints: [3]",
            "mine.yaml: constraints[0]: expected a mapping with the keys name, rule.",
        ),
        (
            "axes: {a: [1]}\nconstraints: [{rule: a > 0}]",
            "mine.yaml: constraints[0].name: expected text. Quote it.",
        ),
        (
            "axes: {a: [1, 2]}\nconstraints: [a > 1]\ndefault: {a: 1}",
            "mine.yaml: search space: the default config breaks 'a > 1'.",
        ),
        (
            "axes: {a: [1]}\ndefault: {b: 1}",
            "mine.yaml: default: unknown key 'b'. Choose from a.",
        ),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(GemmbenchError) as caught:
        load(tmp_path, text)
    assert str(caught.value) == line


def test_the_example_in_the_readme_is_a_space(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    example = text.partition("`--space mine.yaml`.")[2].partition("```yaml\n")[2]
    space = load(tmp_path, example.partition("```")[0])
    assert space.size() < space.combinations() == 6 * 4 * 2 * 2
    assert [c.name for c in space.constraints] == [
        "mr * kc * 4 <= 32768",
        "rows only when small",
    ]
