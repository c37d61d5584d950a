"""`gemmbench run`."""

from typing import TYPE_CHECKING

import click

from gemmbench.cli.effort import budget_option, tune_option
from gemmbench.cli.formats import format_option
from gemmbench.cli.given import Given, gathered, run_options, what_is_asked
from gemmbench.cli.measuring import measuring_options
from gemmbench.cli.options import options_given
from gemmbench.cli.plan import check_db, dry_run_option, print_plan
from gemmbench.cli.raced import batch_lowering_option
from gemmbench.cli.racing import busy_machine, ended, race_and_print, verdicts_by_layer
from gemmbench.cli.suite import SuiteName

if TYPE_CHECKING:
    from gemmbench.run_outcome import Outcome
    from gemmbench.suite import Suite
    from gemmbench_results.report.render import TableFormat, TextFormat


@click.command(
    epilog="Example: gemmbench run alexnet --only 'conv*' --backend blas --backend numba"
)
@click.argument("suites", nargs=-1, required=True, metavar="SUITE...", type=SuiteName())
@measuring_options
@batch_lowering_option
@tune_option(
    "auto",
    "never",
    "force",
    meaning="Search tile sizes unless a stored winner fits; never; or always anew.",
)
@budget_option("For the whole command. [default: 18 a layer]")
@dry_run_option
@format_option
@gathered
def run(suites: tuple[str, ...], given: Given, dry_run: bool, format_: "TableFormat") -> int:
    """Race every way of computing the layers of each SUITE, a name or a YAML file.

    Every answer is verified before it is timed and again afterwards. One table a suite says which
    way is fastest, how far it is from the machine's peak, and with which tile sizes; every sample
    lands in the database.
    """
    from gemmbench.run_options import budget_seconds
    from gemmbench_results.store import open_store

    asked = what_is_asked(suites, given)
    options = run_options(given, asked)
    if dry_run:
        check_db(given.db)
        return print_plan(asked.suites, asked, options, budget_seconds(asked.suites, options))
    others = busy_machine()
    with open_store(given.db) as store:
        outcome = race_and_print(
            asked, options, given, format_, store,
            lambda done, style: report(asked.suites, suites, done, store.name, style),
            others,
        )  # fmt: skip
    return ended(outcome, given.db)


def report(
    suites: "list[Suite]",
    names: tuple[str, ...],
    outcome: "Outcome",
    database: str,
    style: "TextFormat" = "table",
) -> str:
    """One table a suite, what they say in plain sentences, and where the samples are."""
    from gemmbench_results.report.batching import batching_sentences
    from gemmbench_results.report.render import notes_text, prose
    from gemmbench_results.report.sentences import plain_sentences
    from gemmbench_results.report.table import trial_table

    repeated = options_given("only", "budget", "json_to", "tune", "format_")
    parts = []
    for suite, name in zip(suites, names, strict=True):
        trials = [trial for trial in outcome.trials if trial.suite == suite.name]
        verdicts = verdicts_by_layer(trials)
        parts.append(prose(f"{suite.name}: {suite.description}", style))
        parts.append(trial_table(trials, verdicts, format=style))
        parts += [notes_text(gains, style)] if (gains := batching_sentences(trials)) else []
        said = plain_sentences(trials, verdicts, suite=name, options=repeated)
        parts += [prose(sentence, style) for sentence in said]
    searched = f"{outcome.evaluations} configs searched, {outcome.reused} stored winners reused; "
    return "\n\n".join([*parts, f"{searched}every sample is in {database} (run {outcome.run})."])
