"""`gemmbench export`."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.options import db_option
from gemmbench.errors import GemmbenchError, did_you_mean

if TYPE_CHECKING:
    from gemmbench.trial import Trial
    from gemmbench_results.runs import Run
    from gemmbench_results.store import Store

FORMATS = {
    "kernel-tuner": "a search, as a cache file that Kernel Tuner's simulation mode replays",
    "google-benchmark": "a run, as Google Benchmark's JSON",
    "bmf": "a run, as Bencher Metric Format",
    "github-action-benchmark": "a run, as its customSmallerIsBetter",
    "pyperf": "a run, as pyperf's JSON",
    "junit": "a run, as JUnit XML: which answers were right",
    "otava-csv": "the runs comparable with the newest, as a CSV for Apache Otava",
    "otava-config": "the configuration with which Otava reads that CSV from gemmbench.csv",
}


@click.command(epilog="Example: gemmbench export --format pyperf --output run.json")
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(FORMATS)),
    help="; ".join(f"{name}: {what}" for name, what in FORMATS.items()) + ".",
)
@click.option(
    "--run",
    "number",
    type=click.IntRange(min=1),
    help="Run to export. [default: the latest race, or search, that timed something; of junit the "
    "latest race]",
)
@click.option("--suite", metavar="NAME", help="Only this suite, where there are several.")
@click.option("--layer", metavar="NAME", help="Only this layer, where there are several.")
@click.option(
    "--contender",
    metavar="LABEL",
    help="Only this contender, such as 'numba im2col', where there are several.",
)
@click.option(
    "--output",
    "output",
    metavar="FILE|-",
    default="-",
    show_default=True,
    help="Where to write; '-' is stdout.",
)
@db_option
def export(
    format_: str | None,
    number: int | None,
    suite: str | None,
    layer: str | None,
    contender: str | None,
    output: str,
    db: str,
) -> int:
    """Write a search, a run or the history of a machine for another program to read.

    Trackers get one entry a way of computing a layer, the fastest config of each.
    """
    from gemmbench_results.store import open_store

    if format_ is None:
        raise GemmbenchError(f"--format: say which: {', '.join(FORMATS)}.")
    if output != "-" and not Path(output).parent.is_dir():
        raise GemmbenchError(f"--output: {output!r} is not in a folder that exists.")
    asked = (suite, layer, contender)
    with open_store(db, create=False) as store:
        if format_.startswith("otava"):
            text = otava_text(store, format_, number, asked)
        else:
            run = store.run(number) if number is not None else newest(store, format_)
            if run is None:
                raise GemmbenchError(f"{store.name}: holds no run yet. Run 'gemmbench run SUITE'.")
            better = store.latest_timed_run("race")
            text = run_text(run, store.trials(run.number), format_, asked, better)
    check_overwritten(output, text)
    with click.open_file(output, "w", encoding="utf-8") as file:
        file.write(text)
    return 0


def check_overwritten(output: str, text: str) -> None:
    """Raise GemmbenchError if `output` is there and does not begin as such an export does."""
    if output == "-" or not Path(output).exists():
        return
    with Path(output).open("rb") as file:
        held = file.read(200).decode(errors="replace")
    if held.strip() and _beginning(held) != _beginning(text):
        raise GemmbenchError(
            f"--output: {output!r} exists and holds something else than such an export. Name "
            "another file, or delete it."
        )


def _beginning(text: str) -> str:
    """The bracket or the word that tells one kind of file from another."""
    found = re.search(r"\w+|\S", text)
    return found.group() if found else ""


def newest(store: "Store", format_: str) -> "Run | None":
    """The latest run that has something to export; else the latest, to say what it lacks.

    JUnit tells which answers were right, so it tells of a race in which everything failed.
    """
    purpose = "tune" if format_ == "kernel-tuner" else "race"
    timed = None if format_ == "junit" else store.latest_timed_run(purpose)
    return timed or store.latest_run(purpose) or store.latest_run()


Asked = tuple[str | None, str | None, str | None]  # suite, layer, contender; None: any


def run_text(
    run: "Run", trials: "list[Trial]", format_: str, asked: Asked, better: "Run | None"
) -> str:
    """The chosen trials of one run in a format. Raises GemmbenchError if there are none.

    `better`: a run to name instead of one that timed nothing.
    """
    from gemmbench_results.export import trackers
    from gemmbench_results.export.entries import entries
    from gemmbench_results.export.junit import junit

    if format_ == "kernel-tuner":
        return search_text(run, trials, asked)
    chosen = [trial for trial in trials if trial.purpose == "race" and _fits(trial, asked)]
    if not chosen:
        raise GemmbenchError(_nothing(run.number, trials, asked))
    if format_ == "junit":
        return junit(chosen)
    found = entries(chosen)
    if not found:
        raise GemmbenchError(_untimed(run.number, better))
    formats: dict[str, Callable[[], Any]] = {
        "google-benchmark": lambda: trackers.google_benchmark(run, found),
        "bmf": lambda: trackers.bmf(found),
        "github-action-benchmark": lambda: trackers.github_action_benchmark(run, found),
        "pyperf": lambda: trackers.pyperf(run, found),
    }
    return json.dumps(formats[format_](), indent=1) + "\n"


def search_text(run: "Run", trials: "list[Trial]", asked: Asked) -> str:
    """One search as a Kernel Tuner cache. Raises GemmbenchError unless exactly one fits."""
    from gemmbench_results.export.kernel_tuner import kernel_tuner_cache

    chosen = [trial for trial in trials if trial.purpose == "tune" and _fits(trial, asked)]
    searches = list(dict.fromkeys(_names(trial) for trial in chosen))
    if len(searches) != 1:
        raise GemmbenchError(_choice(run.number, searches))
    return json.dumps(kernel_tuner_cache(chosen, run.machine), indent=0) + "\n"


def otava_text(store: "Store", format_: str, number: int | None, asked: Asked) -> str:
    """CSV or configuration of the newest comparable runs; says on stderr what was left out."""
    from gemmbench_results.export.otava import otava_config, otava_csv, otava_table
    from gemmbench_results.history import read_history

    suite, layer, contender = asked
    if number is not None or contender is not None:
        raise GemmbenchError(
            f"--format {format_}: takes no --run and no --contender: it exports every run that is "
            "comparable with the newest. Choose with --suite and --layer."
        )
    table = otava_table(read_history(store, suite=suite, layer=layer or "*"))
    if table.left_out:
        click.echo(
            f"gemmbench: {table.left_out} runs left out, which did not time all that the newest "
            "one did",
            err=True,
        )
    return otava_csv(table) if format_ == "otava-csv" else otava_config(table)


def _fits(trial: "Trial", asked: Asked) -> bool:
    return all(a in (None, b) for a, b in zip(asked, _names(trial), strict=True))


def _names(trial: "Trial") -> tuple[str, str, str]:
    """What a trial is chosen by."""
    return trial.suite, trial.layer, trial.contender.label()


def _nothing(run: int, trials: "list[Trial]", asked: Asked) -> str:
    """What to say where no race trial fits: the first choice that nothing has."""
    raced = [_names(trial) for trial in trials if trial.purpose == "race"]
    for place, option in enumerate(("--suite", "--layer", "--contender")):
        given, there = asked[place], {names[place] for names in raced}
        if given is not None and given not in there:
            return f"run {run}: {option}: it has no {given!r}.{did_you_mean(given, there)}"
    return f"run {run}: holds no race that fits. Name a run with --run."


def _untimed(run: int, better: "Run | None") -> str:
    """What to say where contenders fit and none of them was timed."""
    said = f"run {run}: none of the contenders asked for was timed."
    if better is None:
        return f"{said} Run 'gemmbench run SUITE'."
    if better.number == run:
        return f"{said} Ask for others, or name a run with --run."
    return f"{said} Run {better.number} has some that were: --run {better.number}."


def _choice(run: int, searches: list[tuple[str, str, str]]) -> str:
    """What to say where not exactly one search fits."""
    if not searches:
        return f"run {run}: no search fits. Name a run with --run, or run 'gemmbench tune SUITE'."
    shown = "; ".join(
        f"--suite {suite} --layer {layer} --contender '{label}'"
        for suite, layer, label in searches[:5]
    )
    return f"run {run}: {len(searches)} searches fit. Choose one: {shown}."
