"""`--format` of the commands that compare, and where each format is written."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gemmbench.cli.options import Command
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.comparison import Comparison
    from gemmbench_results.report.comparison_formats import ComparisonFormat

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"  # the file that GitHub shows on the page of a job


def comparison_format_option(command: Command) -> Command:
    """`command` with `--format`, passed to it as `format_`."""
    option = click.option(
        "--format",
        "format_",
        type=click.Choice(["table", "markdown", "json", "junit", "github"]),
        default="table",
        show_default=True,
        help="For people, or for CI; github writes annotations, and the job summary where "
        f"{STEP_SUMMARY} names its file.",
    )
    return option(command)


def print_comparisons(
    comparisons: "Sequence[Comparison]",
    format_: "ComparisonFormat",
    *,
    suite: str,
    verdict: str = "",
    notes: Sequence[str] = (),
    err: bool = False,
) -> None:
    """Print the comparisons; with 'github', append them to the job summary too.

    Raises GemmbenchError where the summary's file cannot be written.
    """
    from gemmbench_results.report.comparison_formats import render, step_summary

    click.echo(render(comparisons, format_, suite=suite, verdict=verdict, notes=notes), err=err)
    place = os.environ.get(STEP_SUMMARY)
    if format_ == "github" and place:
        try:
            with Path(place).open("a", encoding="utf-8") as file:
                file.write(f"{step_summary(comparisons, suite, notes)}\n")
        except OSError as error:
            raise GemmbenchError(
                f"{STEP_SUMMARY}: {place!r} cannot be written: {error.strerror}. Unset it, or use "
                "--format markdown."
            ) from error
