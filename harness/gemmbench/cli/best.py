"""`gemmbench best`."""

import json
from typing import TYPE_CHECKING

import click

from gemmbench.cli.formats import format_option
from gemmbench.cli.options import Command, db_option, max_error_option, threads_option
from gemmbench.cli.suite import SuiteName
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemmbench.cli.measuring import Asked
    from gemmbench.machine import Machine
    from gemmbench.suite import Layer
    from gemmbench.trial import RaceProtocol
    from gemmbench_results.report.winners import Winner
    from gemmbench_results.store import Store

ASK_SECONDS = 60.0


def best_format_option(command: Command) -> Command:
    """`command` with `--format`, in which winners also come as YAML or a C header."""
    return format_option(command, "yaml", "c-header")


@click.command(epilog="Example: gemmbench best alexnet --format c-header > tiles.h")
@click.argument("suite", metavar="SUITE", type=SuiteName())
@best_format_option
@click.option("--backend", metavar="SPEC", help="Only this backend's. [default: the fastest]")
@click.option(
    "--weights",
    type=click.Choice(["plain", "prepared"]),
    default="plain",
    show_default=True,
    help="Weights as they come, or packed and transformed ahead.",
)
@click.option("--only", metavar="GLOB", help="Layers, such as 'conv*'. [default: all]")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="Batch of conv and linear layers. [default: the suite's]",
)
@click.option("--dtype", metavar="NAME", help="float32 or float64. [default: the suite's]")
@click.option(
    "--portfolio",
    type=click.IntRange(min=1),
    metavar="K",
    help="Print instead the K configs of each kernel that serve all layers together best.",
)
@threads_option
@click.option(
    "--cache",
    type=click.Choice(["hot", "cold"]),
    default="hot",
    show_default=True,
    help="Races with operands left where they were, or rotated through more than the caches.",
)
@max_error_option
@db_option
def best(
    suite: str,
    format_: str,
    backend: str | None,
    weights: str,
    only: str | None,
    batch: int | None,
    dtype: str | None,
    portfolio: int | None,
    threads: int | None,
    cache: str,
    max_error: float | None,
    db: str,
) -> int:
    """Print the stored winner of each of SUITE's layers on this machine, with its config.

    The newest race of a layer counts. Who raced only earlier is compared through what ran
    unchanged in both races, for times of different days are not comparable; who shares no race
    is named. A winner whose kernel changed since is marked stale. Races with --max-error are found
    with the same --max-error.
    """
    if portfolio is not None and format_ != "table":
        raise click.UsageError(
            f"--format: got {format_}; with --portfolio only table is printed. Leave one out."
        )
    from gemmbench.cli.measuring import what_is_asked
    from gemmbench_results.report import winners as report
    from gemmbench_results.report.render import csv_text
    from gemmbench_results.store import open_store

    asked = what_is_asked(
        (suite,),
        only=only,
        batch=batch,
        dtype=dtype,
        threads=threads,
        cache=cache,
        fill="uniform",
        processes=1,
        memory=None,
        seed=0,
        max_error=max_error,
    )
    (loaded,) = asked.suites
    with open_store(db, create=False) as store:
        found = [
            winner
            for layer in loaded.layers
            if (winner := winner_of(layer, store, asked, weights, backend)) is not None
        ]
        if portfolio is not None and found:
            click.echo(portfolio_text(store, asked, loaded.layers, found, portfolio))
            return 0
    if not found:
        limit = "" if max_error is None else f" --max-error {max_error:g}"
        raise GemmbenchError(
            f"{suite}: no race of its layers is stored for this machine, "
            f"{asked.protocol.threads} threads, {cache} caches and "
            f"{'no --max-error' if max_error is None else limit.strip()}. "
            f"Run 'gemmbench tune {suite}{limit}'."
        )
    found = marked(found, asked.machine, asked.protocol)
    texts = {
        "table": lambda: report.winners_table(found),
        "markdown": lambda: report.winners_table(found, "markdown"),
        "csv": lambda: csv_text(report.winners_data(found, asked.machine)["winners"]).rstrip(),
        "json": lambda: json.dumps(report.winners_data(found, asked.machine), indent=2),
        "yaml": lambda: report.winners_yaml(found, asked.machine).rstrip(),
        "c-header": lambda: report.winners_header(found, asked.machine, loaded.name),
    }
    click.echo(texts[format_]())
    return 0


def portfolio_text(
    store: "Store", asked: "Asked", layers: "Sequence[Layer]", winners: "list[Winner]", count: int
) -> str:
    """For each kernel that was tuned, the configs to carry and which layers each serves."""
    from gemmbench.tune.portfolio import choose
    from gemmbench_results.report.portfolio import portfolio_lines

    newest_last = sorted((w for w in winners if w.trial.contender.config), key=lambda w: w.run)
    kernels = {w.trial.contender.label(): w.trial for w in newest_last}
    problems = list(dict.fromkeys(layer.problem for layer in layers))
    lines = []
    for label, trial in kernels.items():
        evaluations = [
            one
            for one in store.evaluations(asked.machine, asked.protocol, trial.contender)
            if one.here and one.source_hash == trial.source_hash
        ]
        timed = {one.problem for one in evaluations if one.seconds is not None}
        searched = [problem for problem in problems if problem in timed]
        found = choose(evaluations, searched, count) if searched else None
        lines += portfolio_lines(label, found, searched, layers)
    return "\n".join(lines) or "No winner among these layers has anything to tune."


def winner_of(
    layer: "Layer", store: "Store", asked: "Asked", weights: str, backend: str | None
) -> "Winner | None":
    """The stored winner of `layer` among the contenders asked for; None if none was timed."""
    from gemmbench.champion import champion
    from gemmbench_results.report.winners import Winner

    races = store.races(asked.machine, asked.protocol, layer.problem)
    found = champion(races, weights, backend)
    if found is None:
        return None
    return Winner(layer.name, found.trial, found.verdict, found.run, found.unraced)


def marked(winners: "list[Winner]", machine: "Machine", protocol: "RaceProtocol") -> "list[Winner]":
    """The winners, stale ones marked: each backend is asked once what its source is now."""
    from dataclasses import replace

    from gemmbench.offers import NoOfferError, describe
    from gemmbench.race import Limits

    limits, now = Limits(0, ASK_SECONDS), dict[str, str | None]()
    for winner in winners:
        spec, problem = winner.trial.contender.backend, winner.trial.problem
        if spec not in now:
            try:
                reply = describe(spec, problem, protocol.threads, machine, limits)
                now[spec] = reply["source_hash"]
            except (NoOfferError, GemmbenchError):
                now[spec] = None
    return [
        replace(winner, stale=now[winner.trial.contender.backend] != winner.trial.source_hash)
        for winner in winners
    ]
