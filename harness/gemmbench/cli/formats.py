"""`--format` of the commands that compare, and where each format is written."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gemmbench.cli.options import Command

if TYPE_CHECKING:
    from gemmbench_results.report.comparison_formats import ComparisonFormat
    from gemmbench_results.report.comparisons import CheckReport

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
