"""`gemmbench backends`."""

from typing import TYPE_CHECKING

import click

from gemmbench.cli.formats import format_option, print_formatted
from gemmbench.cli.options import json_option, quiet_option

if TYPE_CHECKING:
    from gemmbench.machine import Machine
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

    Each is asked in a process of its own about a small product and a small convolution.
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
    from gemmbench.offers import NoOfferError, describe
    from gemmbench.problem import Conv2d, Gemm
    from gemmbench.race import Limits

    limits = Limits(0, ASK_SECONDS)
    algorithms: list[str] = []
    row = {"backend": spec, "status": "usable", "algorithms": "", "library": "", "reason": ""}
    for problem in (Gemm(64, 64, 64), Conv2d(1, 8, 16, 16, 8, (3, 3))):
        try:
            reply = describe(spec, problem, machine.cores, machine, limits)
        except NoOfferError as error:
            return {**row, "status": "broken", "reason": str(error)}
        if reply["unavailable"] is not None:
            return {**row, "status": "unavailable", "reason": reply["unavailable"]}
        row["library"] = reply["library"]
        algorithms += [offer["algorithm"] for offer in reply["offers"]]
    return {**row, "algorithms": ", ".join(dict.fromkeys(algorithms))}
