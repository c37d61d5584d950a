"""`gemmbench run`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.formats import format_option, print_formatted
from gemmbench.cli.measuring import kinds_of_weights, measuring_options, what_is_asked
from gemmbench.cli.options import Seconds, check_json_target, options_given
from gemmbench.cli.suite import SuiteName

if TYPE_CHECKING:
    from gemmbench.machine import Machine
    from gemmbench.run_options import RunOptions
    from gemmbench.run_outcome import Outcome
    from gemmbench.stats import Verdict
    from gemmbench.suite import Suite
    from gemmbench.trial import RaceProtocol, Trial
    from gemmbench_results.report.render import TableFormat, TextFormat
    from gemmbench_results.store import Store

OVERRUN = 1.2  # times the budget, from which on the user is told


@click.command(
    epilog="Example: gemmbench run alexnet --only 'conv*' --backend blas --backend numba"
)
@click.argument("suites", nargs=-1, required=True, metavar="SUITE...", type=SuiteName())
@measuring_options
@click.option(
    "--batch-lowering",
    type=click.Choice(["per-image", "whole", "both"]),
    default="per-image",
    show_default=True,
    help="Of im2col: a GEMM for each image, or one for the whole batch, or both in one race.",
)
@click.option(
    "--tune",
    type=click.Choice(["auto", "never", "force"]),
    default="auto",
    show_default=True,
    help="Search tile sizes unless a stored winner fits; never; or always anew.",
)
@click.option(
    "--budget",
    type=Seconds(),
    metavar="SECONDS",
    help="For the whole command. [default: 18 a layer]",
)
@click.option("--dry-run", is_flag=True, help="Print what would be raced and write nothing.")
@format_option
def run(
    suites: tuple[str, ...],
    backends: tuple[str, ...],
    algorithms: tuple[str, ...],
    weights: str,
    only: str | None,
    batch: int | None,
    dtype: str | None,
    threads: int | None,
    cache: str,
    max_error: float | None,
    fill: str,
    batch_lowering: str,
    tune: str,
    budget: float | None,
    strategy: str,
    evaluations: int,
    processes: int,
    timeout: float,
    memory: str | None,
    db: str,
    json_to: str | None,
    seed: int,
    quiet: bool,
    dry_run: bool,
    format_: "TableFormat",
) -> int:
    """Race every way of computing the layers of each SUITE, a name or a YAML file.

    Every answer is verified before it is timed and again afterwards. One table a suite says which
    way is fastest, how far it is from the machine's peak, and with which tile sizes; every sample
    lands in the database.
    """
    from gemmbench.run_options import RunOptions

    check_json_target(json_to)
    asked = what_is_asked(
        suites,
        only=only,
        batch=batch,
        dtype=dtype,
        threads=threads,
        cache=cache,
        fill=fill,
        processes=processes,
        memory=memory,
        seed=seed,
        max_error=max_error,
    )
    options = RunOptions(
        backends=backends,
        algorithms=algorithms,
        weights=kinds_of_weights(weights),
        lowerings=("per-image", "whole") if batch_lowering == "both" else (batch_lowering,),
        tune=tune,  # type: ignore[arg-type]  # click has checked the choice
        strategy=strategy,
        budget=budget,
        evaluations=evaluations,
        timeout=timeout,
        memory_bytes=asked.memory_bytes,
    )
    if dry_run:
        return print_plan(asked.suites, options, asked.protocol, asked.machine)
    return race_and_print(
        asked.suites, suites, options, asked.protocol, asked.machine, db, json_to, quiet, format_
    )


def race_and_print(
    suites: "list[Suite]",
    names: tuple[str, ...],
    options: "RunOptions",
    protocol: "RaceProtocol",
    machine: "Machine",
    db: str,
    json_to: str | None,
    quiet: bool,
    format_: "TableFormat" = "table",
) -> int:
    """Run the suites, print their tables, write JSON where asked; the exit code."""
    from gemmbench.cli.progress import ProgressLine
    from gemmbench.run import run_suites
    from gemmbench.run_options import budget_seconds
    from gemmbench.run_outcome import exit_code
    from gemmbench.software import detect_software
    from gemmbench_results.store import open_store

    command, others = shlex.join(["gemmbench", *sys.argv[1:]]), busy_machine()
    with open_store(db) as store:
        with ProgressLine(budget_seconds(suites, options), quiet=quiet) as line:
            outcome = run_suites(
                suites, options, protocol, machine, store, line, command, detect_software()
            )
        data = data_of(store, outcome, machine, protocol)
        print_formatted(
            format_,
            lambda style: (
                report(suites, names, outcome, store.name, style)
                + overrun(suites, options, outcome)
                + others
            ),
            lambda: data,
            lambda: data["trials"],
            quiet=quiet,
            json_to=json_to,
        )
    if outcome.interrupted:
        click.echo(f"gemmbench: interrupted; what was measured is in {db}", err=True)
    return exit_code(outcome)


def data_of(
    store: "Store", outcome: "Outcome", machine: "Machine", protocol: "RaceProtocol"
) -> dict[str, Any]:
    """The JSON object of a run."""
    from gemmbench_results.report.as_json import run_json, run_to_data

    return run_json(run_to_data(store.run(outcome.run)), machine, protocol, outcome.trials)


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


def overrun(suites: "list[Suite]", options: "RunOptions", outcome: "Outcome") -> str:
    """A sentence where one round of everything took longer than the budget; else ''."""
    from gemmbench.run_options import budget_seconds

    budget = budget_seconds(suites, options)
    if outcome.interrupted or outcome.seconds < OVERRUN * budget:
        return ""
    return (
        f"\n\nThe budget of {budget:.0f} s was too short: preparing, verifying and timing "
        f"everything once took {outcome.seconds:.0f} s."
    )


def verdicts_by_layer(trials: "list[Trial]") -> "dict[str, tuple[Verdict, ...]]":
    """The verdicts of each layer's race, their leaders indices into the layer's trials."""
    from gemmbench.ranking import rank

    layers: dict[str, list[Trial]] = {}
    for trial in trials:
        layers.setdefault(trial.layer, []).append(trial)
    return {layer: rank(own) for layer, own in layers.items()}


def print_plan(
    suites: "list[Suite]", options: "RunOptions", protocol: "RaceProtocol", machine: "Machine"
) -> int:
    """Print what would be raced and which backends are missing. Writes nothing; always 0."""
    from gemmbench.backend import locate_backend
    from gemmbench.run_options import budget_seconds, check_memory

    for spec in options.backends:
        locate_backend(spec)
    check_memory([(s, layer) for s in suites for layer in s.layers], options)
    for suite in suites:
        click.echo(f"{suite.name}: {suite.description}")
        for layer in suite.layers:
            click.echo(f"  {layer.name:<12} {layer.problem.gemm()} {layer.problem.dtype}")
    missing = unavailable(suites, options, protocol, machine)
    click.echo(f"backends: {', '.join(s for s in options.specs() if s not in missing) or 'none'}")
    for spec, reason in missing.items():
        click.echo(f"  not usable here: {spec}: {reason}")
    click.echo(
        f"{protocol.threads} threads of {machine.cores} cores, {protocol.cache} cache, "
        f"{protocol.fill} operands, {protocol.processes} processes, tune {options.tune}, "
        f"at most about {budget_seconds(suites, options):.0f} s"
    )
    return 0


def unavailable(
    suites: "list[Suite]", options: "RunOptions", protocol: "RaceProtocol", machine: "Machine"
) -> dict[str, str]:
    """The backends that cannot run here, each with the reason; each is asked in its own process."""
    from gemmbench.offers import NoOfferError, describe
    from gemmbench.race import Limits

    problem = suites[0].layers[0].problem
    limits = Limits(0, options.timeout, options.memory_bytes)
    found = {}
    for spec in options.specs():
        try:
            reason = describe(spec, problem, protocol.threads, machine, limits)["unavailable"]
        except NoOfferError as error:
            reason = str(error)
        if reason is not None:
            found[spec] = reason
    return found
