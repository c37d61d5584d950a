"""`gemmbench check`."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from gemmbench.cli.checking import check_options, checking_options
from gemmbench.cli.effort import budget_option
from gemmbench.cli.formats import comparison_format_option, print_report
from gemmbench.cli.given import Asked, Given, gathered, what_is_asked
from gemmbench.cli.racing import typed
from gemmbench.cli.suite import SuiteName
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.check_outcome import CheckOptions, CheckOutcome
    from gemmbench.sides import Sides
    from gemmbench_results.report.comparison_formats import ComparisonFormat
    from gemmbench_results.report.comparisons import CheckReport

NOTHING_COMPARED = 4  # the exit code where there was nothing to compare, or no base for some layer
SECONDS_A_LAYER = 30.0  # at most, with confirmation, of small layers; for the progress line only


@click.command(
    epilog="Example: gemmbench check mine.yaml --backend ./my_kernel.py:MyGemm --base-rev main"
)
@click.argument("suites", nargs=-1, required=True, metavar="SUITE...", type=SuiteName())
@click.option("--base-rev", metavar="REV", help="Base is the backend's code at a git revision.")
@click.option(
    "--base-python", metavar="PATH", help="Base runs in another interpreter, with its libraries."
)
@click.option("--base-backend", metavar="SPEC", help="Base is this backend; needs --head-backend.")
@click.option("--head-backend", metavar="SPEC", help="Head is this backend; needs --base-backend.")
@checking_options
@comparison_format_option
@budget_option(
    "For the whole suite; what it leaves open is UNDECIDED. [default: none]", "--time-budget"
)
@click.option("--resume", is_flag=True, help="Go on with the same check that was interrupted.")
@click.option("--strict", is_flag=True, help="Exit with 3 if undecided or too noisy.")
@click.option("--require-baseline", is_flag=True, help="Exit with 4 if some layer has no base.")
@gathered
def check(
    suites: tuple[str, ...],
    given: Given,
    base_rev: str | None,
    base_python: str | None,
    base_backend: str | None,
    head_backend: str | None,
    min_effect: float,
    max_regression: float,
    resume: bool,
    strict: bool,
    require_baseline: bool,
    format_: "ComparisonFormat",
) -> int:
    """Compare head with base on each layer of SUITE, and fail if head got slower.

    Both sides are measured now, on this machine, in pairs of fresh processes that take turns.
    Exit codes: 0 fine, 1 a regression, 4 nothing was compared, 5 a wrong result, 6 a crash, 130
    interrupted. A first run, whose base does not have the kernel yet, is fine if head is right.
    """
    from gemmbench.gate import Thresholds

    sides = sides_asked(base_rev, base_python, base_backend, head_backend, given.backends)
    asked = what_is_asked(suites, given)
    thresholds = Thresholds(min_effect, max_regression)
    options = replace(check_options(given, asked, thresholds), resume=resume)
    with sides as found:
        outcome, code = run_check(
            asked, options, found, given, strict=strict, require_baseline=require_baseline
        )
        report = report_of(outcome, found, ", ".join(suite.name for suite in asked.suites))
        print_outcome(report, outcome, given, format_)
        if code == NOTHING_COMPARED and (given.quiet or format_ != "table"):
            say_why(report, outcome)  # a table says it itself
    return code


def say_why(report: "CheckReport", outcome: "CheckOutcome") -> None:
    """Say on stderr that nothing was compared, or which layers have no base."""
    from gemmbench_results.report.comparisons import headline, refusal_sentence

    missing = [] if outcome.compared_nothing() else outcome.missing_bases()
    for line in map(refusal_sentence, missing) if missing else [headline(report)]:
        click.echo(f"gemmbench: check: {line}", err=True)


def print_outcome(
    report: "CheckReport", outcome: "CheckOutcome", given: Given, format_: "ComparisonFormat"
) -> None:
    """Print the report, write JSON where it is asked for, and say where the samples are."""
    from gemmbench.cli.formats import write_text
    from gemmbench_results.report.comparison_formats import report_data
    from gemmbench_results.report.render import json_text

    to_stdout = given.json_to == "-"
    if given.json_to:  # first: what follows may find no reader
        write_text(given.json_to, json_text(report_data(report)) + "\n")
    print_report(report, format_, quiet=given.quiet, err=to_stdout)
    say_where(outcome, given.db, quiet=given.quiet or format_ != "table", err=to_stdout)


def sides_asked(
    base_rev: str | None,
    base_python: str | None,
    base_backend: str | None,
    head_backend: str | None,
    backends: tuple[str, ...],
) -> "AbstractContextManager[Sides]":
    """Base and head, made when the context is entered. Raises GemmbenchError unless one is asked.

    Exactly one of the three ways to make a base must be given.
    """
    from gemmbench.sides import at_revision, two_backends, with_python

    two = base_backend is not None or head_backend is not None
    if (base_rev is not None) + (base_python is not None) + two != 1:
        raise GemmbenchError(
            "check: say what to compare with, in one way: --base-rev REV, --base-python PATH, or "
            "--base-backend SPEC --head-backend SPEC."
        )
    if two:
        if base_backend is None or head_backend is None or backends:
            raise GemmbenchError(
                "check: --base-backend and --head-backend are given together, without --backend."
            )
        return nullcontext(two_backends(base_backend, head_backend))
    if not backends:
        raise GemmbenchError("check: say which code to compare, such as --backend ./k.py:MyGemm.")
    if base_rev is not None:
        return at_revision(base_rev, backends)
    return with_python(str(base_python), backends)


def run_check(
    asked: Asked,
    options: "CheckOptions",
    sides: "Sides",
    given: Given,
    *,
    strict: bool,
    require_baseline: bool,
) -> "tuple[CheckOutcome, int]":
    """Run the check into the database; its outcome and the exit code."""
    from gemmbench.check import Check
    from gemmbench.check_outcome import exit_code
    from gemmbench.cli.progress import ProgressLine
    from gemmbench.software import detect_software
    from gemmbench_results.store import open_store

    layers = sum(len(suite.layers) for suite in asked.suites)
    seconds = options.time_budget or SECONDS_A_LAYER * layers * len(sides.duos)
    with open_store(given.db) as store, ProgressLine(seconds, quiet=given.quiet) as line:
        gate = Check(
            asked.suites, sides.duos, options, asked.protocol, asked.machine, store, line,
            detect_software(),
        )  # fmt: skip
        outcome = gate.run(typed())
        code = exit_code(outcome, strict=strict, require_baseline=require_baseline)
        store.end(outcome.run, code)
    return outcome, code


def report_of(outcome: "CheckOutcome", sides: "Sides", suite: str) -> "CheckReport":
    """What a reader is told of it, whatever the format."""
    from gemmbench_results.report.comparisons import CheckReport

    notes = reader_notes(outcome, sides)
    return CheckReport(suite, outcome.comparisons, outcome.verdict(), outcome.refusals, notes)


def say_where(outcome: "CheckOutcome", db: str, *, quiet: bool, err: bool) -> None:
    """Say where the samples are, and how to go on with what was interrupted."""
    if not quiet:
        click.echo(
            f"\nIt took {outcome.seconds:.0f} s; every sample is in {db} (run {outcome.run}).",
            err=err,
        )
    if outcome.interrupted:
        click.echo(
            f"gemmbench: interrupted; what was decided is in {db}: go on with --resume", err=True
        )


def reader_notes(outcome: "CheckOutcome", sides: "Sides") -> list[str]:
    """What else a reader should know, as sentences."""
    from gemmbench_results.report.comparisons import measured, percent

    notes = [*sides.notes, *outcome.notes]
    if outcome.control is not None and measured(outcome.control):
        low, high = percent(outcome.control.low), percent(outcome.control.high)
        notes.append(f"a frozen kernel against itself reads {low} … {high}")
    if outcome.resumed:
        notes.append(f"{outcome.resumed} comparisons are from the check that was interrupted")
    return [f"{note[:1].upper()}{note[1:]}." for note in notes]
