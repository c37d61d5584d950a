"""`gemmbench doctor`."""

import os
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import click

from gemmbench.cli.formats import format_option, print_formatted
from gemmbench.cli.options import json_option, quiet_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemmbench.doctor import Finding
    from gemmbench_results.report.render import TableFormat, TextFormat

WIDTH = 100
INDENT = " " * 9  # as wide as 'warning' and two spaces


@click.command(epilog="Example: gemmbench doctor")
@click.option(
    "--root",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False),
    default="/",
    show_default=True,
    help="Where proc and sys are: a copy of another machine's may be examined.",
)
@click.option(
    "--gpu", is_flag=True,
    help="Instead, check the GPU kernels on the device and time them beside the vendor's library.",
)  # fmt: skip
@json_option
@quiet_option
@format_option
def doctor(root: str, gpu: bool, json_to: str | None, quiet: bool, format_: "TableFormat") -> int:
    """Say what on this machine disturbs measurements, why it matters, and what to do about it.

    Only files are read; nothing is measured and nothing is changed. Always ends with 0. With
    --gpu: whether the GPU kernels are right on this device, and how fast, as a report to paste
    into an issue; it ends with what those checks give.
    """
    if gpu:
        from gemmbench.cli.gpu import print_gpu_reports

        return print_gpu_reports(json_to, quiet)
    from gemmbench.doctor import examine

    findings = examine(Path(root), os.environ)
    data = [finding_data(finding) for finding in findings]
    print_formatted(
        format_,
        lambda style: findings_text(findings, style),
        lambda: {"schema": 1, "findings": data},
        lambda: data,
        quiet=quiet,
        json_to=json_to,
    )
    return 0


def findings_text(findings: "Sequence[Finding]", style: "TextFormat") -> str:
    """Lines for people; in Markdown a table."""
    if style == "table":
        return "\n".join(text(finding) for finding in findings)
    from gemmbench_results.report.render import table_text

    columns = dict.fromkeys(("level", "name", "found", "why", "remedy"), "left")
    rows = [[finding_data(finding)[name] for name in columns] for finding in findings]
    return table_text(columns, rows, style)


def text(finding: "Finding") -> str:
    """One line for what is fine, three for what is not."""
    from gemmbench.doctor import Level

    lines = [f"{finding.level:<7}  {finding.name}: {finding.found}"]
    if finding.level is not Level.OK:
        lines += [
            fill(part, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)
            for part in (finding.why, finding.remedy)
            if part
        ]
    return "\n".join(lines)


def finding_data(finding: "Finding") -> dict[str, str]:
    """`finding` as JSON-able data."""
    return {
        "name": finding.name,
        "level": str(finding.level),
        "found": finding.found,
        "why": finding.why,
        "remedy": finding.remedy,
    }
