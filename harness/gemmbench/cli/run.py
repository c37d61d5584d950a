"""`gemmbench run`."""

import json
import os
import shlex
import sys
from typing import TYPE_CHECKING

import click

from gemmbench.cli.options import (
    Seconds,
    check_json_target,
    db_option,
    json_option,
    parse_size,
    quiet_option,
    seed_option,
    threads_option,
)
from gemmbench.cli.suite import SuiteName
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.machine import Machine
    from gemmbench.runner import Outcome, RunOptions
    from gemmbench.stats import Verdict
    from gemmbench.suite import Suite
    from gemmbench.trial import RaceProtocol, Trial

OVERRUN = 1.2  # times the budget, from which on the user is told
LEAST_MEMORY = 2**29
MEMORY_SHARE = 0.8  # of what is available; the rest is the system's and the page cache's


@click.command(
    epilog="Example: gemmbench run alexnet --only 'conv*' --backend blas --backend numba"
)
@click.argument("suites", nargs=-1, required=True, metavar="SUITE...", type=SuiteName())
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="SPEC",
    help="Backend to race: numba, blas, ./my_kernel.py:MyGemm. Repeatable. [default: all]",
)
@click.option(
    "--algorithm",
    "algorithms",
    multiple=True,
    metavar="NAME",
    help="Algorithm to race: gemm, im2col, implicit-gemm, fft. Repeatable. [default: all]",
)
@click.option(
    "--weights",
    type=click.Choice(["plain", "prepared", "both"]),
    default="plain",
    show_default=True,
    help="Weights as they come, or packed and transformed ahead; never ranked together.",
)
@click.option("--only", metavar="GLOB", help="Layers to run, such as 'conv*'. [default: all]")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="Batch of conv and linear layers. [default: the suite's]",
)
@click.option("--dtype", metavar="NAME", help="float32 or float64. [default: the suite's]")
@threads_option
@click.option(
    "--cache",
    type=click.Choice(["hot", "cold"]),
    default="hot",
    show_default=True,
    help="Operands where the last call left them, or rotated through more memory than the caches.",
)
@click.option(
    "--fill",
    type=click.Choice(["uniform", "integers", "zeros", "denormal"]),
    default="uniform",
    show_default=True,
    help="Values of the operands that are timed.",
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
@click.option(
    "--evaluations",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Most configs one search measures.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Fresh processes in which the leading contenders are measured.",
)
@click.option(
    "--timeout",
    type=Seconds(),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="A contender that takes longer over one request counts as hung.",
)
@click.option(
    "--memory", metavar="SIZE", help="Most memory, such as 4G. [default: 80% of what is free]"
)
@db_option
@json_option
@seed_option
@quiet_option
@click.option("--dry-run", is_flag=True, help="Print what would be raced and write nothing.")
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
    fill: str,
    tune: str,
    budget: float | None,
    evaluations: int,
    processes: int,
    timeout: float,
    memory: str | None,
    db: str,
    json_to: str | None,
    seed: int,
    quiet: bool,
    dry_run: bool,
) -> int:
    """Race every way of computing the layers of each SUITE, a name or a YAML file.

    Every answer is verified before it is timed and again afterwards. One table a suite says which
    way is fastest, how far it is from the machine's peak, and with which tile sizes; every sample
    lands in the database.
    """
    from gemmbench.machine import available_memory_bytes, detect_machine
    from gemmbench.runner import RunOptions
    from gemmbench.suite import load_suite, select_layers
    from gemmbench.trial import RaceProtocol

    check_json_target(json_to)
    loaded = [load_suite(name, batch=batch, dtype=dtype) for name in suites]
    if only is not None:
        loaded = [select_layers(suite, only) for suite in loaded]
    allowed = parse_size(memory) if memory else int(MEMORY_SHARE * available_memory_bytes())
    if allowed < LEAST_MEMORY:
        raise GemmbenchError(
            f"--memory: got {memory or f'{allowed} bytes free'}, a worker with its libraries "
            "needs at least 512M."
        )
    options = RunOptions(
        backends=backends,
        algorithms=algorithms,
        weights=("plain", "prepared") if weights == "both" else (weights,),
        tune=tune,  # type: ignore[arg-type]  # click has checked the choice
        budget=budget,
        evaluations=evaluations,
        timeout=timeout,
        memory_bytes=allowed,
    )
    found = detect_machine()
    check_threads(threads)
    check_cold(cache, found)
    protocol = RaceProtocol(
        fill=fill,
        cache=cache,
        cold_bytes=2 * (found.l2_bytes + found.l3_bytes) if cache == "cold" else 0,
        threads=threads or found.cores,
        processes=processes,
        seed=seed,
        forced=forced_kernels(),
    )
    if dry_run:
        return print_plan(loaded, options, protocol, found)
    return race_and_print(loaded, suites, options, protocol, found, db, json_to, quiet)


def check_threads(threads: int | None) -> None:
    """Raise GemmbenchError for more threads than there are CPUs to run them."""
    logical = os.cpu_count() or 1
    if threads is not None and threads > logical:
        raise GemmbenchError(f"--threads: got {threads}, this machine has {logical} CPUs.")


def check_cold(cache: str, machine: "Machine") -> None:
    """Raise GemmbenchError if cold is asked for where the size of no cache is known."""
    if cache == "cold" and not machine.l2_bytes + machine.l3_bytes:
        raise GemmbenchError(
            "--cache: cold needs the cache sizes, and this machine does not tell them. Use hot."
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
) -> int:
    """Run the suites, print their tables, write JSON where asked; the exit code."""
    from gemmbench.cli.progress import ProgressLine
    from gemmbench.runner import budget_seconds, exit_code, run_suites
    from gemmbench_results.report.as_json import run_json, run_to_data
    from gemmbench_results.store import open_store

    command = shlex.join(["gemmbench", *sys.argv[1:]])
    with open_store(db) as store:
        with ProgressLine(budget_seconds(suites, options), quiet=quiet) as line:
            outcome = run_suites(suites, options, protocol, machine, store, line, command)
        if not quiet:
            text = report(suites, names, outcome, store.name)
            click.echo(f"{text}{overrun(suites, options, outcome)}", err=json_to == "-")
        if json_to:
            run_data = run_to_data(store.run(outcome.run))
            write_json(json_to, run_json(run_data, machine, protocol, outcome.trials))
    if outcome.interrupted:
        click.echo(f"gemmbench: interrupted; what was measured is in {db}", err=True)
    return exit_code(outcome)


def report(suites: "list[Suite]", names: tuple[str, ...], outcome: "Outcome", database: str) -> str:
    """One table a suite, what they say in plain sentences, and where the samples are."""
    from gemmbench_results.report.sentences import plain_sentences
    from gemmbench_results.report.table import trial_table

    parts = []
    for suite, name in zip(suites, names, strict=True):
        trials = [trial for trial in outcome.trials if trial.suite == suite.name]
        verdicts = verdicts_by_layer(trials)
        parts.append(f"{suite.name}: {suite.description}")
        parts.append(trial_table(trials, verdicts))
        parts += plain_sentences(trials, verdicts, suite=name)
    searched = f"{outcome.evaluations} configs searched, {outcome.reused} stored winners reused; "
    return "\n\n".join([*parts, f"{searched}every sample is in {database} (run {outcome.run})."])


def overrun(suites: "list[Suite]", options: "RunOptions", outcome: "Outcome") -> str:
    """A sentence where one round of everything took longer than the budget; else ''."""
    from gemmbench.runner import budget_seconds

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


def write_json(target: str, data: object) -> None:
    """Write `data` to the file `target`, or to stdout for '-'."""
    with click.open_file(target, "w") as file:
        json.dump(data, file, indent=2)
        file.write("\n")


def print_plan(
    suites: "list[Suite]", options: "RunOptions", protocol: "RaceProtocol", machine: "Machine"
) -> int:
    """Print what would be raced. Imports no backend and writes nothing; always 0."""
    from gemmbench.backend import locate_backend
    from gemmbench.runner import budget_seconds, check_memory

    for spec in options.backends:
        locate_backend(spec)
    check_memory([(s, layer) for s in suites for layer in s.layers], options)
    for suite in suites:
        click.echo(f"{suite.name}: {suite.description}")
        for layer in suite.layers:
            click.echo(f"  {layer.name:<12} {layer.problem.gemm()} {layer.problem.dtype}")
    click.echo(f"backends: {', '.join(options.specs())}")
    click.echo(
        f"{protocol.threads} threads of {machine.cores} cores, {protocol.cache} cache, "
        f"{protocol.fill} operands, {protocol.processes} processes, tune {options.tune}, "
        f"at most about {budget_seconds(suites, options):.0f} s"
    )
    return 0


def forced_kernels() -> tuple[str, ...]:
    """Variables of the environment that force a library's kernel, as NAME=value."""
    forced = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_ENABLE_INSTRUCTIONS", "BLIS_ARCH_TYPE")
    return tuple(f"{name}={os.environ[name]}" for name in forced if name in os.environ)
