"""`gemmbench backends`."""

from typing import TYPE_CHECKING

import click

from gemmbench.cli.formats import format_option, print_formatted
from gemmbench.cli.options import json_option, quiet_option

if TYPE_CHECKING:
    from gemmbench.machine import Machine
    from gemmbench.problem import Problem
    from gemmbench_results.report.render import TableFormat

ASK_SECONDS = 60.0


@click.command(epilog="Example: gemmbench backends --backend ./my_kernel.py:MyGemm")
@click.option(
    "--backend",
    "specs",
    multiple=True,
    metavar="SPEC",
    help="Backend to ask. Repeatable. [default: all that are installed]",
)
@json_option
@quiet_option
@format_option
def backends(
    specs: tuple[str, ...], json_to: str | None, quiet: bool, format_: "TableFormat"
) -> int:
    """List the backends: which are usable here, which library each drives, and why not.

    Each is asked in processes of its own about small products and convolutions of every kind; a
    layer has those of its algorithms that apply to it.
    """
    from gemmbench.backend import installed_backends
    from gemmbench.machine import detect_machine
    from gemmbench_results.report.render import table_text

    found = detect_machine()
    rows = [ask(spec, found) for spec in specs or sorted(installed_backends())]
    cells = [
        [row["backend"], row["status"], row["algorithms"], row["library"] or row["reason"]]
        for row in rows
    ]
    headers = ["backend", "status", "algorithms", "library, or what is missing"]
    print_formatted(
        format_,
        lambda style: table_text(dict.fromkeys(headers, "left"), cells, style),
        lambda: {"schema": 1, "backends": rows},
        lambda: rows,
        quiet=quiet,
        json_to=json_to,
    )
    return 0


def ask(spec: str, machine: "Machine") -> dict[str, str]:
    """What the backend `spec` says of itself: status, algorithms, library, reason."""
    from gemmbench.offers import NoOfferError, algorithms_of, describe
    from gemmbench.race import Limits

    limits, asked = Limits(0, ASK_SECONDS), shapes()
    row = {"backend": spec, "status": "usable", "algorithms": "", "library": "", "reason": ""}
    try:
        reply = describe(spec, asked[0], machine.cores, machine, limits)
        if reply["unavailable"] is not None:
            return {**row, "status": "unavailable", "reason": reply["unavailable"]}
        ways = algorithms_of(spec, asked, machine.cores, limits)
    except NoOfferError as error:
        return {**row, "status": "broken", "reason": str(error)}
    names = dict.fromkeys(name for own in ways for name in own)
    return {**row, "library": reply["library"], "algorithms": ", ".join(names)}


def shapes() -> "list[Problem]":
    """A small problem of each kind for which some backend has an algorithm of its own."""
    from gemmbench.problem import Conv2d, Gemm, Linear

    return [
        Gemm(64, 64, 64),
        Gemm(64, 64, 1),  # by a vector
        Linear(8, 64, 64),
        Conv2d(1, 8, 16, 16, 8, (3, 3)),
        Conv2d(1, 8, 16, 16, 8, (1, 1)),
        Conv2d(1, 8, 16, 16, 8, (3, 3), stride=(2, 2)),
        Conv2d(1, 8, 16, 16, 8, (3, 3), groups=8),  # depthwise
    ]
