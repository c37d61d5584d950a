"""`--format` of every command that prints a table: the same four, and what each has in it."""

import csv
import io
import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from test_db import stored  # noqa: F401  a fixture

from gemmbench.cli import COMMANDS, cli
from gemmbench.cli.formats import TABLE_FORMATS, pairs_text

WITHOUT = {  # no table
    "db path", "db upgrade", "export", "report", "suite schema", "suite validate",
}  # fmt: skip
RECORDING = "mr,kc,time_ms\n1,8,2.0\n2,8,1.0\n1,16,3.0\n2,16,1.5\n"


def every_command() -> dict[str, click.Command]:
    found = {}
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= {f"{name} {sub}": each for sub, each in command.commands.items()}
        else:
            found[name] = command
    return found


@pytest.mark.parametrize("name", sorted(set(every_command()) - WITHOUT))
def test_every_command_with_a_table_has_the_same_four_formats(name: str) -> None:
    (option,) = (p for p in every_command()[name].params if p.name == "format_")
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices)[:4] == list(TABLE_FORMATS)
    assert option.default == "table"


COMMAND_LINES = {
    "suite list": ("suites",),
    "suite show alexnet": ("layers",),
    "doctor": ("findings",),
    "backends --backend blas": ("backends",),
    "replay RECORDING --seeds 1 --strategy random": ("rows",),
    "db info --db STORED": (),
}


def output(line: str, style: str, tmp_path: Path, database: Path) -> str:
    recording = tmp_path / "space.csv"
    recording.write_text(RECORDING)
    places = {"RECORDING": str(recording), "STORED": str(database)}
    words = [places.get(word, word) for word in line.split()]
    result = CliRunner().invoke(cli, [*words, "--format", style])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_json_and_csv_have_the_same_rows(
    line: str,
    tmp_path: Path,
    stored: Path,  # noqa: F811
) -> None:
    data = json.loads(output(line, "json", tmp_path, stored))
    assert data["schema"] == 1
    rows = list(csv.DictReader(io.StringIO(output(line, "csv", tmp_path, stored))))
    (key,) = COMMAND_LINES[line] or (None,)
    assert len(rows) == (len(data[key]) if key else 1)
    assert all(None not in row and None not in row.values() for row in rows)


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_markdown_has_a_table_that_the_terminal_shows_without_bars(
    line: str,
    tmp_path: Path,
    stored: Path,  # noqa: F811
) -> None:
    markdown = output(line, "markdown", tmp_path, stored).splitlines()
    assert any(row.startswith(("|--", "|:-")) for row in markdown)
    assert "|" not in output(line, "table", tmp_path, stored)


def test_pairs_stand_under_each_other() -> None:
    assert pairs_text([("a", "1"), ("long", "2")], "table") == "a     1\nlong  2"


def test_export_without_a_format_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["export"])
    assert "--format: say which: kernel-tuner" in str(result.exception)


def test_a_database_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "reslts" / "gemmbench.db"
    result = CliRunner().invoke(cli, ["db", "info", "--db", str(place)])
    assert "there is no folder" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["check", "aa"])
def test_the_budget_has_the_same_name_everywhere_and_the_old_one_still(command: str) -> None:
    (option,) = (p for p in every_command()[command].params if p.name == "budget")
    assert option.opts == ["--budget", "--time-budget"]


@pytest.mark.parametrize(("style", "empty"), [("table", True), ("csv", False), ("json", False)])
def test_quiet_leaves_out_what_is_for_people_and_not_the_data(style: str, empty: bool) -> None:
    result = CliRunner().invoke(cli, ["doctor", "--quiet", "--format", style])
    assert (result.stdout == "") is empty
