"""`gemmbench compare --by algorithm|backend|contender`: the ways of each convolution."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.comparing import document, suite_head
from gemmbench.cli.formats import print_formatted
from gemmbench.cli.plan import print_plan
from gemmbench.cli.racing import busy_machine, ended, overrun, race
from gemmbench.cli.reusing import Taken, stored

if TYPE_CHECKING:
    from gemmbench.cli.given import Asked, Given
    from gemmbench.compare.side_by_side import By
    from gemmbench.run_options import RunOptions
    from gemmbench.run_outcome import Outcome
    from gemmbench.suite import Suite
    from gemmbench.trial import Trial
    from gemmbench_results.report.render import TableFormat, TextFormat
    from gemmbench_results.store import Store


@dataclass(frozen=True, slots=True)
class Compared:
    """The convolutions of a suite, raced now or before."""

    suite: "Suite"
    by: "By"
    taken: Taken  # what was reused, by layer
    outcome: "Outcome | None"  # None where everything was

    def trials(self) -> "list[Trial]":
        """The trials of every layer, in the suite's order."""
        fresh = self.outcome.trials if self.outcome else []
        return [
            trial
            for layer in self.suite.layers
            for trial in (
                self.taken[layer.name][1]
                if layer.name in self.taken
                else [t for t in fresh if t.layer == layer.name]
            )
        ]

    def reused(self) -> dict[str, int]:
        """The run that each reused layer is from."""
        return {layer: run for layer, (run, _) in self.taken.items()}


def side_by_side(
    asked: "Asked",
    by: "By",
    options: "RunOptions",
    given: "Given",
    format_: "TableFormat",
    *,
    reuse: bool,
) -> int:
    """The algorithms or the backends of each convolution; the exit code."""
    from gemmbench.compare.side_by_side import convolutions
    from gemmbench_results.store import open_store

    suite, others = convolutions(asked.suites[0]), busy_machine()
    options = replace(options, declined=True)  # an algorithm that is missing is an answer, too
    with open_store(given.db) as store:
        taken = stored(store, asked, options) if reuse else {}
        left = without(suite, taken)
        outcome = race([left], asked, options, store, quiet=given.quiet) if left.layers else None
        found = Compared(suite, by, taken, outcome)
        late = overrun([left], options, outcome) if outcome else ""
        data = json_of(store, asked, found)
        print_formatted(
            format_,
            lambda style: text_of(found, store.name, style) + late + others,
            lambda: data,
            lambda: [
                {"layer": layer["layer"], **row}
                for layer in data["layers"]
                for row in layer["rows"]
            ],
            quiet=given.quiet,
            json_to=given.json_to,
        )
    return ended(outcome, given.db) if outcome else 0


def print_race(asked: "Asked", options: "RunOptions", db: str, *, reuse: bool) -> int:
    """Print what would be raced, and what would be reused instead; always 0.

    An older database is not looked into: opening it would upgrade it.
    """
    from gemmbench.compare.side_by_side import convolutions
    from gemmbench.run_options import budget_seconds
    from gemmbench_results.inspection import store_info
    from gemmbench_results.store import open_store

    suite = convolutions(asked.suites[0])
    taken: Taken = {}
    held = store_info(db) if reuse else None
    if held and held.revision == held.newest_revision:
        with open_store(db) as store:
            taken = stored(store, asked, options)
    elif held and held.revision:
        click.echo(
            f"{held.name}: has revision {held.revision}, of an older gemmbench, and is not looked "
            f"into here. 'gemmbench db upgrade' brings it to {held.newest_revision}."
        )
    for layer, (run, _) in taken.items():
        click.echo(f"{layer}: would be taken from run {run}")
    left = without(suite, taken)
    return print_plan([left], asked, options, budget_seconds([left], options)) if left.layers else 0


def without(suite: "Suite", taken: Taken) -> "Suite":
    """The layers that are left to race."""
    return replace(suite, layers=tuple(la for la in suite.layers if la.name not in taken))


def json_of(store: "Store", asked: "Asked", found: Compared) -> dict[str, Any]:
    """The JSON object."""
    from gemmbench_results.report.as_json import run_to_data
    from gemmbench_results.report.side_by_side import side_by_side_data

    reused = found.reused()
    return document(store, asked, found.outcome, {
        "by": found.by,
        "layers": side_by_side_data(found.trials(), found.by, reused),
        "reused_runs": [run_to_data(store.run(n)) for n in sorted(set(reused.values()))],
    })  # fmt: skip


def text_of(found: Compared, database: str, style: "TextFormat") -> str:
    """The tables, and what they say in plain sentences."""
    from gemmbench_results.report.batching import batching_sentences
    from gemmbench_results.report.render import prose
    from gemmbench_results.report.sentences import result_sentences
    from gemmbench_results.report.side_by_side import chosen, side_by_side_text, verdicts_of

    trials = found.trials()
    shown = chosen(trials, found.by)
    flat = [trial for own in shown.values() for trial in own]
    notes = [*result_sentences(flat, verdicts_of(shown)), *batching_sentences(trials)]
    notes += [f"{layer}: taken from run {run}, of the same machine, protocol and sources."
              for layer, run in found.reused().items()]  # fmt: skip
    if found.outcome is not None:
        notes.append(f"Every sample is in {database} (run {found.outcome.run}).")
    head = prose(suite_head(found.suite.name, found.suite.description), style)
    table = side_by_side_text(trials, found.by, style)
    return "\n\n".join([head, table, *(prose(note, style) for note in notes)])
