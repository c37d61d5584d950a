"""What `run`, `tune` and `compare` do alike around a race: its command line, its end, its JSON."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.formats import print_formatted

if TYPE_CHECKING:
    from gemmbench.cli.given import Asked, Given
    from gemmbench.run_options import RunOptions
    from gemmbench.run_outcome import Outcome
    from gemmbench.stats import Verdict
    from gemmbench.suite import Suite
    from gemmbench.trial import Trial
    from gemmbench_results.report.render import TableFormat, TextFormat
    from gemmbench_results.store import Store


def typed() -> str:
    """The command line, as it is kept with the run."""
    return shlex.join(["gemmbench", *sys.argv[1:]])


def race(
    suites: "list[Suite]", asked: "Asked", options: "RunOptions", store: "Store", *, quiet: bool
) -> "Outcome":
    """Tune and race the layers of `suites` into the store, with a line of progress."""
    from gemmbench.cli.progress import ProgressLine
    from gemmbench.run import run_suites
    from gemmbench.run_options import budget_seconds
    from gemmbench.software import detect_software

    with ProgressLine(budget_seconds(suites, options), quiet=quiet) as line:
        return run_suites(
            suites, options, asked.protocol, asked.machine, store, line, typed(),
            detect_software(),
        )  # fmt: skip


def race_and_print(
    asked: "Asked",
    options: "RunOptions",
    given: "Given",
    format_: "TableFormat",
    store: "Store",
    text: "Callable[[Outcome, TextFormat], str]",
    below: str = "",
) -> "Outcome":
    """Race all suites, print what came of it in the format asked for, and write JSON where asked.

    `text`: the tables and what they say; under it an overrun of the budget is told, and `below`.
    """
    outcome = race(asked.suites, asked, options, store, quiet=given.quiet)
    data = data_of(store, outcome, asked)
    print_formatted(
        format_,
        lambda style: text(outcome, style) + overrun(asked.suites, options, outcome) + below,
        lambda: data,
        lambda: data["trials"],
        quiet=given.quiet,
        json_to=given.json_to,
    )
    return outcome


def ended(outcome: "Outcome", db: str) -> int:
    """The exit code; says where the rest is if it was interrupted."""
    from gemmbench.run_outcome import exit_code

    if outcome.interrupted:
        click.echo(f"gemmbench: interrupted; what was measured is in {db}", err=True)
    return exit_code(outcome)


def data_of(store: "Store", outcome: "Outcome", asked: "Asked") -> dict[str, Any]:
    """The JSON object of a run."""
    from gemmbench_results.report.as_json import run_json, run_to_data

    run = run_to_data(store.run(outcome.run))
    return run_json(run, asked.machine, asked.protocol, outcome.trials)


def verdicts_by_layer(trials: "list[Trial]") -> "dict[str, tuple[Verdict, ...]]":
    """The verdicts of each layer's race, their leaders indices into the layer's trials."""
    from gemmbench.ranking import rank

    layers: dict[str, list[Trial]] = {}
    for trial in trials:
        layers.setdefault(trial.layer, []).append(trial)
    return {layer: rank(own) for layer, own in layers.items()}


def overrun(suites: "list[Suite]", options: "RunOptions", outcome: "Outcome") -> str:
    """A paragraph where one round of everything took longer than the budget; else ''."""
    from gemmbench.run_options import budget_seconds
    from gemmbench.run_outcome import overrun_sentence

    said = overrun_sentence(outcome, budget_seconds(suites, options))
    return f"\n\n{said}" if said else ""


def busy_machine(root: Path = Path("/")) -> str:
    """A sentence where programs have waited for processors, which no interval mends; else ''.

    The load average does not count: a run that ended a moment ago raises it too.
    """
    from gemmbench.doctor.busy import busy
    from gemmbench.doctor.finding import Level

    bad = [one for one in busy(root) if one.level is Level.WARNING and one.name != "load"]
    found = [f"{one.name}: {one.found}" for one in bad]
    if not found:
        return ""
    return f"\n\nThe machine was busy when this began ({'; '.join(found)}): see gemmbench doctor."
