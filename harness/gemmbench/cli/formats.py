"""`--format` and `--json`: how every command that prints a table writes it.

`--format json` prints what `--json -` prints; `--json FILE` writes it beside any other format.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.options import Command
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench_results.report.comparison_formats import ComparisonFormat
    from gemmbench_results.report.comparisons import CheckReport
    from gemmbench_results.report.render import TableFormat, TextFormat

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"  # the file that GitHub shows on the page of a job


TABLE_FORMATS = ("table", "markdown", "csv", "json")  # of every command that prints a table


def format_option(command: Command, *others: str) -> Command:
    """`command` with `--format`, passed to it as `format_`: a table, or data to load.

    `others` are formats that only this command has.
    """
    option = click.option(
        "--format",
        "format_",
        type=click.Choice([*TABLE_FORMATS, *others]),
        default="table",
        show_default=True,
        help="A table for people, or data for another program to load.",
    )
    return option(command)


def print_formatted(
    format_: "TableFormat",
    text: "Callable[[TextFormat], str]",
    data: Callable[[], Mapping[str, Any]],
    rows: "Callable[[], Sequence[Mapping[str, Any]]]",
    *,
    quiet: bool = False,
    json_to: str | None = None,
) -> None:
    """Print what a command found in the format asked for, and write JSON where it is asked for.

    `text` gives a table or Markdown, `data` the JSON object, `rows` the part of it that CSV has.
    JSON comes first: what follows may find no reader. With `--json -` stdout is the JSON's. `quiet`
    leaves out what is for people; data was asked for.
    """
    from gemmbench_results.report.render import csv_text, json_text

    if json_to:
        write_text(json_to, json_text(data()) + "\n")
    to_stderr = json_to == "-"
    if format_ == "json" and to_stderr:
        return  # it is there already
    if quiet and format_ in ("table", "markdown"):
        return
    if format_ == "json":
        click.echo(json_text(data()))
    elif format_ == "csv":
        click.echo(csv_text(rows()), nl=False, err=to_stderr)
    else:
        click.echo(text(format_), err=to_stderr)


def pairs_text(pairs: "Sequence[tuple[str, str]]", style: "TextFormat") -> str:
    """What is told of one thing: a line each for people, a table of two columns in Markdown."""
    from gemmbench_results.report.render import table_text

    if style == "markdown":
        return table_text({"": "left", "value": "left"}, pairs, style)
    width = max(len(name) for name, _ in pairs)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in pairs)


def write_text(target: str, text: str) -> None:
    """Write `text` to the file `target`, or to stdout for '-'."""
    try:
        with click.open_file(target, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise GemmbenchError(
            f"--json: cannot write {target!r}: {error.strerror}. The database has it all."
        ) from error


def comparison_format_option(command: Command) -> Command:
    """`command` with `--format`, passed to it as `format_`."""
    option = click.option(
        "--format",
        "format_",
        type=click.Choice(["table", "markdown", "csv", "json", "junit", "github"]),
        default="table",
        show_default=True,
        help="For people, or for CI; github writes annotations, and the job summary where "
        f"{STEP_SUMMARY} names its file.",
    )
    return option(command)


def print_report(
    report: "CheckReport", format_: "ComparisonFormat", *, quiet: bool = False, err: bool = False
) -> None:
    """Print the report, unless `quiet`; with 'github', append it to the job summary in any case.

    A summary that cannot be written is said on stderr: what was measured must not be lost for it.
    """
    from gemmbench_results.report.comparison_formats import render, step_summary

    if not quiet:
        click.echo(render(report, format_), err=err)
    place = os.environ.get(STEP_SUMMARY)
    if format_ == "github" and place:
        try:
            with Path(place).open("a", encoding="utf-8") as file:
                file.write(f"{step_summary(report)}\n")
        except OSError as error:
            click.echo(
                f"gemmbench: {STEP_SUMMARY}: {place!r} cannot be written: {error.strerror}. "
                "Unset it, or use --format markdown.",
                err=True,
            )
