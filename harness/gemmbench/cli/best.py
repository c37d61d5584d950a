"""`gemmbench best`."""

import json
from shlex import quote
from typing import TYPE_CHECKING

import click

from gemmbench.cli.formats import format_option
from gemmbench.cli.given import Asked, Given, gathered, what_is_asked
from gemmbench.cli.options import Command, db_option, options_given
from gemmbench.cli.raced import (
    batch_option,
    cache_option,
    dtype_option,
    max_error_option,
    only_option,
    threads_option,
    weights_option,
)
from gemmbench.cli.suite import SuiteName
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

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
@weights_option(both=False)
@only_option()
@batch_option()
@dtype_option
@click.option(
    "--portfolio",
    type=click.IntRange(min=1),
    metavar="K",
    help="Print instead the K configs of each kernel that serve all layers together best.",
)
@threads_option
@cache_option("Races with operands left where they were, or rotated through more than the caches.")
@max_error_option
@db_option
@gathered
def best(suite: str, given: Given, backend: str | None, portfolio: int | None, format_: str) -> int:
    """Print the stored winner of each of SUITE's layers on this machine, with its config.

    The newest race of a layer counts. Who raced only earlier is compared through what ran
    unchanged in both races, for times of different days are not comparable; who shares no race is
    named, as are layers without a race and the run that each time is of. A winner whose kernel
    changed since is marked stale. Races with --max-error are found with the same --max-error.
    """
    if portfolio is not None and format_ != "table":
        raise click.UsageError(
            f"--format: got {format_}; with --portfolio only table is printed. Leave one out."
        )
    from gemmbench_results.store import open_store

    asked = what_is_asked((suite,), given)
    (loaded,) = asked.suites
    with open_store(given.db, create=False) as store:
        found = [
            winner
            for layer in loaded.layers
            if (winner := winner_of(layer, store, asked, given.weights, backend)) is not None
        ]
        if portfolio is not None and found:
            click.echo(portfolio_text(store, asked, loaded.layers, found, portfolio))
            return 0
    if not found:
        raise GemmbenchError(nothing_stored(suite, given, asked.protocol.threads))
    named = {winner.layer for winner in found}
    without = [layer.name for layer in loaded.layers if layer.name not in named]
    again = f"gemmbench run {quote(suite)}{options_given('backend', 'format_', 'portfolio')}"
    winners = marked(found, asked.machine, asked.protocol)
    click.echo(text_of(winners, without, asked, format_, again))
    if without:  # on stderr where stdout is for a program to load
        told = no_race(without, suite, backend)
        click.echo(told, err=format_ not in ("table", "markdown"))
    return 0


def no_race(without: "Sequence[str]", suite: str, backend: str | None) -> str:
    """Which layers have no winner, and how to have one."""
    whose = f" of {backend}" if backend else ""
    only = "".join(f" --only {quote(name)}" for name in without)
    return (
        f"\nNo race{whose} is stored under these conditions of: {', '.join(without)}. "
        f"Run: gemmbench run {quote(suite)}{options_given('only', 'format_', 'portfolio')}{only}"
    )


def nothing_stored(suite: str, given: Given, threads: int) -> str:
    """What was looked for in vain, and how to have it."""
    only = "".join(f" --only {quote(glob)}" for glob in given.only)
    limit = "" if given.max_error is None else f" --max-error {given.max_error:g}"
    return (
        f"{suite}: no race of its layers is stored for this machine, "
        f"{threads} threads, {given.cache} caches and {limit.strip() or 'no --max-error'}. "
        f"Run: gemmbench tune {quote(suite)}{only}{limit}"
    )


def text_of(
    winners: "list[Winner]", without: "Sequence[str]", asked: Asked, format_: str, again: str
) -> str:
    """The winners in a format; `without` are the layers that have none.

    `again` is the command that races them.
    """
    from gemmbench_results.report import winners as report
    from gemmbench_results.report.render import csv_text

    machine = asked.machine
    data = report.winners_data(winners, machine, without)
    texts = {
        "table": lambda: report.winners_table(winners, again),
        "markdown": lambda: report.winners_table(winners, again, "markdown"),
        "csv": lambda: csv_text(data["winners"]).rstrip(),
        "json": lambda: json.dumps(data, indent=2),
        "yaml": lambda: report.winners_yaml(data).rstrip(),
        "c-header": lambda: report.winners_header(winners, machine, asked.suites[0].name, without),
    }
    return texts[format_]()


def portfolio_text(
    store: "Store", asked: Asked, layers: "Sequence[Layer]", winners: "list[Winner]", count: int
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
    layer: "Layer", store: "Store", asked: Asked, weights: str, backend: str | None
) -> "Winner | None":
    """The stored winner of `layer` among the contenders asked for; None if none was timed."""
    from gemmbench.champion import champion
    from gemmbench_results.report.winners import Winner

    races = store.races(asked.machine, asked.protocol, layer.problem)
    found = champion(races, weights, backend)
    if found is None:
        return None
    return Winner(
        layer.name, found.trial, found.verdict, found.run, found.unraced, beside=found.beside
    )


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
