"""`gemmbench aa`."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from gemmbench.cli.checking import check_options, checking_options
from gemmbench.cli.effort import budget_option
from gemmbench.cli.formats import format_option, print_formatted
from gemmbench.cli.given import Asked, Given, gathered, what_is_asked
from gemmbench.cli.racing import typed
from gemmbench.cli.suite import SuiteName

if TYPE_CHECKING:
    from gemmbench.aa import SelfTest
    from gemmbench.gate import Thresholds
    from gemmbench_results.report.render import TableFormat, TextFormat

DEFAULT_BACKEND = "blas"


@click.command(epilog="Example: gemmbench aa warden --backend blas --repeats 20")
@click.argument("suites", nargs=-1, required=True, metavar="SUITE...", type=SuiteName())
@checking_options
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="How often the whole suite is checked against itself.",
)
@budget_option("No repeat is begun after this.", "--time-budget")
@click.option("--strict", is_flag=True, help="Exit with 3 after any false alarm, or if undecided.")
@format_option
@gathered
def aa(
    suites: tuple[str, ...],
    given: Given,
    min_effect: float,
    max_regression: float,
    repeats: int,
    strict: bool,
    format_: "TableFormat",
) -> int:
    """Try the gate of 'gemmbench check' on identical code on this machine.

    Says how often it raised a false alarm, how often its intervals held the truth, and the
    smallest slowdown it would have seen for how much measuring. The backend is blas unless
    others are named.
    """
    from gemmbench.gate import Thresholds
    from gemmbench_results.report.comparison_formats import comparisons_data

    asked, thresholds = what_is_asked(suites, given), Thresholds(min_effect, max_regression)
    test = self_test(asked, given, thresholds, repeats)
    data = comparisons_data(test.comparisons(), test.verdict())
    print_formatted(
        format_,
        lambda style: text_report(test, thresholds, given.db, style),
        lambda: data,
        lambda: data["comparisons"],
        quiet=given.quiet,
        json_to=given.json_to,
    )
    return self_test_code(test, strict=strict)


def self_test(asked: Asked, given: Given, thresholds: "Thresholds", repeats: int) -> "SelfTest":
    """Checks of each backend against itself, each with another seed, within the budget."""
    from gemmbench.aa import repeat
    from gemmbench.check import Check
    from gemmbench.check_outcome import CheckOutcome, exit_code
    from gemmbench.cli.progress import ProgressLine
    from gemmbench.sides import itself
    from gemmbench.software import detect_software
    from gemmbench_results.store import open_store

    duos = tuple(itself(spec) for spec in given.backends or (DEFAULT_BACKEND,))
    unbounded = replace(given, budget=None)  # it bounds the repeats, not each of them
    options = replace(check_options(unbounded, asked, thresholds), control=False)
    started, software, budget = time.monotonic(), detect_software(), given.budget
    with (
        open_store(given.db) as store,
        ProgressLine(budget or 10.0 * repeats, quiet=given.quiet) as line,
    ):

        def once(number: int) -> CheckOutcome:
            protocol = replace(asked.protocol, seed=given.seed + number)
            gate = Check(
                asked.suites, duos, options, protocol, asked.machine, store, line, software
            )
            outcome = gate.run(typed())
            store.end(outcome.run, exit_code(outcome, strict=False, require_baseline=False))
            return outcome

        return repeat(once, repeats, lambda: not budget or time.monotonic() - started < budget)


def self_test_code(test: "SelfTest", *, strict: bool) -> int:
    """130 if interrupted, 5 or 6 if wrong or failed, 3 if strict, 4 if nothing ran, else 0."""
    if any(outcome.interrupted for outcome in test.outcomes):
        return 130
    verdicts = {outcome.verdict() for outcome in test.outcomes}
    for verdict, code in (("WRONG", 5), ("FAILED", 6)):
        if verdict in verdicts:
            return code
    if strict and test.verdict() != "OK":
        return 3
    return 0 if test.comparisons() else 4


def text_report(
    test: "SelfTest", thresholds: "Thresholds", db: str, style: "TextFormat" = "table"
) -> str:
    """The rates in sentences and what can be seen as a table."""
    from gemmbench.comparison import GateVerdict
    from gemmbench_results.report.comparisons import visible_table

    comparisons = test.comparisons()
    number, improved = len(comparisons), test.false_alarms(GateVerdict.IMPROVED)
    parts = [
        f"{test.verdict()}: of {number} comparisons of identical code {test.false_alarms()} were "
        f"called slower and {improved} faster; {test.checks_with_alarm()} of "
        f"{len(test.outcomes)} checks raised a false alarm.",
        f"{test.covered()} of {number} intervals hold the truth (95 % should).",
        visible_table(test.visible(thresholds), style),
    ]
    parts += [
        f"{one.layer}, {one.backend}: not compared: {one.reason.rstrip('.')}."
        for one in (test.outcomes[0].refusals if test.outcomes else ())
    ]
    parts.append(f"Every sample is in {db}.")
    return "\n\n".join(part for part in parts if part)
