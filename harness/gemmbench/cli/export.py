"""`gemmbench export`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gemmbench.cli.options import db_option
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.trial import Trial


@click.command(
    epilog="Example: gemmbench export --format kernel-tuner --layer conv1 --output conv1.json"
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["kernel-tuner"]),
    required=True,
    help="kernel-tuner: a cache file that Kernel Tuner's simulation mode replays.",
)
@click.option(
    "--run", "number", type=click.IntRange(min=1), help="Run to export. [default: the latest]"
)
@click.option("--suite", metavar="NAME", help="Its suite, where the run has several.")
@click.option("--layer", metavar="NAME", help="Its layer, where the run has several.")
@click.option(
    "--contender",
    metavar="LABEL",
    help="Its contender, such as 'numba im2col', where the layer has several.",
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
    format_: str,
    number: int | None,
    suite: str | None,
    layer: str | None,
    contender: str | None,
    output: str,
    db: str,
) -> int:
    """Write what a search measured on one layer for another program to read."""
    from gemmbench_results.export.kernel_tuner import kernel_tuner_cache
    from gemmbench_results.store import open_store

    with open_store(db, create=False) as store:
        run = store.run(number) if number is not None else store.latest_run()
        if run is None:
            raise GemmbenchError(f"{store.name}: holds no run yet. Run 'gemmbench tune SUITE'.")
        trials = [trial for trial in store.trials(run.number) if trial.purpose == "tune"]
    asked = (suite, layer, contender)
    chosen = [
        trial
        for trial in trials
        if all(a in (None, b) for a, b in zip(asked, _search(trial), strict=True))
    ]
    searches = list(dict.fromkeys(_search(trial) for trial in chosen))
    if len(searches) != 1:
        raise GemmbenchError(_choice(run.number, searches))
    formats = {"kernel-tuner": kernel_tuner_cache}
    data = formats[format_](chosen, run.machine)
    if output != "-" and not Path(output).parent.is_dir():
        raise GemmbenchError(f"--output: {output!r} is not in a folder that exists.")
    with click.open_file(output, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=0)
        file.write("\n")
    return 0


def _search(trial: "Trial") -> tuple[str, str, str]:
    """What a trial's search is named by."""
    return trial.suite, trial.layer, trial.contender.label()


def _choice(run: int, searches: list[tuple[str, str, str]]) -> str:
    """What to say where not exactly one search fits."""
    if not searches:
        return f"run {run}: no search fits. Name a run with --run, or run 'gemmbench tune SUITE'."
    shown = "; ".join(
        f"--suite {suite} --layer {layer} --contender '{label}'"
        for suite, layer, label in searches[:5]
    )
    return f"run {run}: {len(searches)} searches fit. Choose one: {shown}."
