"""`gemmbench replay` from the command line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gemmbench.cli import cli
from gemmbench.errors import GemmbenchError

CSV = "a,b,time_ms\n" + "".join(
    f"{a},{b},{1 + abs(a - 4) + abs(b - 3)}\n" for a in (1, 2, 4, 8) for b in range(1, 8)
)


@pytest.fixture
def space(tmp_path: Path) -> str:
    path = tmp_path / "some.csv"
    path.write_text(CSV)
    return str(path)


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, ["replay", *arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def test_the_table_has_a_row_for_each_strategy(space: str) -> None:
    output = invoke(space, "--strategy", "gp,random", "--seeds", "2", "--evaluations", "50").output
    lines = output.splitlines()
    assert lines[0].split() == [
        "space", "strategy", "@20", "@50", "@100", "@200", "to", "95%", "reached",
        "ms/proposal", "slowest",
    ]  # fmt: skip
    assert [line.split()[:2] for line in lines[2:]] == [["some", "gp"], ["some", "random"]]
    assert "100%" in lines[2]


def test_several_spaces_end_with_their_mean(space: str, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(CSV.replace("time", "time"))
    lines = invoke(space, str(other), "--strategy", "random", "--seeds", "1").output.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["some", "other", "mean"]


def test_json_goes_to_stdout_and_the_table_to_stderr(space: str) -> None:
    result = invoke(space, "--strategy", "genetic", "--seeds", "3", "--json", "-")
    data = json.loads(result.stdout)
    assert data["schema"] == 1
    (row,) = data["rows"]
    assert (row["space"], row["strategy"], row["seeds"]) == ("some", "genetic", 3)
    assert set(row["at"]) == {"20", "50", "100", "200"}
    assert row["at"]["200"] == 1.0
    assert row["reached_95"] == 1.0
    assert "genetic" in result.stderr


@pytest.mark.parametrize(
    ("strategies", "line"),
    [
        ("rando", "--strategy: 'rando' is unknown. Did you mean 'random'?"),
        (" , ", "--strategy: got ' , ', expected names such as gp,random."),
    ],
)
def test_an_unknown_strategy_is_one_line(space: str, strategies: str, line: str) -> None:
    with pytest.raises(GemmbenchError) as caught:
        invoke(space, "--strategy", strategies)
    assert line in str(caught.value)
