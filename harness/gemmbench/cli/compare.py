"""`gemmbench compare`."""

import shlex
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.formats import format_option, print_formatted
from gemmbench.cli.measuring import kinds_of_weights, measuring_options, what_is_asked
from gemmbench.cli.options import Seconds, check_json_target
from gemmbench.cli.reusing import SETTINGS, check_reuse, stored
from gemmbench.cli.suite import SuiteName
from gemmbench.errors import GemmbenchError

if TYPE_CHECKING:
    from gemmbench.cli.measuring import Asked
    from gemmbench.compare import By, Ratio, SettingBy, Swept
    from gemmbench.run_options import RunOptions
    from gemmbench.run_outcome import Outcome
    from gemmbench.trial import Trial
    from gemmbench_results.report.render import TableFormat
    from gemmbench_results.store import Store


@click.command(
    epilog="Example: gemmbench compare fft_crossover --only L3 --weights prepared "
    "--sweep kernel=3,5,7,9 --sweep stride=1,2"
)
@click.argument("suite", metavar="SUITE", type=SuiteName())
@measuring_options
@click.option(
    "--by",
    type=click.Choice(["algorithm", "backend", "contender", *SETTINGS]),
    default="algorithm",
    show_default=True,
    help="What stands side by side: the fastest of each algorithm, of each backend, or each "
    "contender; or a contender against itself with other operands, or with cold caches.",
)
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="NAME=V,V,...",
    help="Race a grid of shapes around the first convolution instead: kernel, stride, pad, "
    "dilation, channels, out, size, groups, batch. Repeatable. A swept kernel is padded by half.",
)
@click.option(
    "--tune",
    type=click.Choice(["stored", "never", "auto", "force"]),
    default="stored",
    show_default=True,
    help="Tile sizes: stored winners where there are; defaults; or a search as in run.",
)
@click.option(
    "--budget",
    type=Seconds(),
    metavar="SECONDS",
    help="For the whole command. [default: 18 a layer, 8 a point of a sweep]",
)
@click.option(
    "--reuse", is_flag=True, help="Take layers from an earlier race of the same code, and say so."
)
@format_option
def compare(
    suite: str,
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
    by: str,
    sweeps: tuple[str, ...],
    tune: str,
    budget: float | None,
    reuse: bool,
    format_: "TableFormat",
    strategy: str,
    evaluations: int,
    processes: int,
    timeout: float,
    memory: str | None,
    db: str,
    json_to: str | None,
    seed: int,
    quiet: bool,
) -> int:
    """Compare the ways of computing each convolution of SUITE: time, stages, memory, error.

    All race together, as in 'gemmbench run'. With --sweep a map says which algorithm wins at which
    shape; with --by fill or cache it is said how much slower each contender gets.
    """
    from gemmbench.run_options import RunOptions

    check_json_target(json_to)
    check_together(by, sweeps, cache, fill)
    if reuse:
        check_reuse(by, sweeps, tune)
    asked = what_is_asked(
        (suite,),
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
        tune=tune,  # type: ignore[arg-type]  # click has checked the choice
        strategy=strategy,
        budget=budget,
        evaluations=evaluations,
        timeout=timeout,
        memory_bytes=asked.memory_bytes,
    )
    output = Output(format_, quiet, json_to)
    if sweeps:
        return sweep(asked, sweeps, options, db, output)
    if by in SETTINGS:
        return settings(asked, by, options, db, output)  # type: ignore[arg-type]  # checked above
    return side_by_side(asked, by, options, db, output, reuse=reuse)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Output:
    """How the result is to be printed."""

    format: "TableFormat"
    quiet: bool
    json_to: str | None


def check_together(by: str, sweeps: tuple[str, ...], cache: str, fill: str) -> None:
    """Raise GemmbenchError for options that contradict each other."""
    if sweeps and by != "algorithm":
        raise GemmbenchError(f"--by: {by} does not go with --sweep, which maps algorithms.")
    if by == "fill" and fill != "uniform":
        raise GemmbenchError("--fill: --by fill races every fill. Leave --fill out.")
    if by == "cache" and cache != "hot":
        raise GemmbenchError("--cache: --by cache races both. Leave --cache out.")


def side_by_side(
    asked: "Asked", by: "By", options: "RunOptions", db: str, output: Output, *, reuse: bool
) -> int:
    """The algorithms or the backends of each convolution; the exit code."""
    from gemmbench.cli.progress import ProgressLine
    from gemmbench.cli.run import busy_machine
    from gemmbench.compare import convolutions
    from gemmbench.run import run_suites
    from gemmbench.run_options import budget_seconds
    from gemmbench.software import detect_software
    from gemmbench_results.report.as_json import run_to_data
    from gemmbench_results.report.render import prose
    from gemmbench_results.report.sentences import result_sentences
    from gemmbench_results.report.side_by_side import chosen, side_by_side_text, verdicts_of
    from gemmbench_results.store import open_store

    suite = convolutions(asked.suites[0])
    others = busy_machine()
    outcome: Outcome | None = None
    with open_store(db) as store:
        taken = stored(store, asked, options) if reuse else {}
        left = tuple(layer for layer in suite.layers if layer.name not in taken)
        if left:
            rest = replace(suite, layers=left)
            with ProgressLine(budget_seconds([rest], options), quiet=output.quiet) as line:
                outcome = run_suites(
                    [rest], options, asked.protocol, asked.machine, store, line, typed(),
                    detect_software(),
                )  # fmt: skip
        fresh = outcome.trials if outcome else []
        trials = [
            trial
            for layer in suite.layers
            for trial in (
                taken[layer.name][1]
                if layer.name in taken
                else [t for t in fresh if t.layer == layer.name]
            )
        ]
        shown = chosen(trials, by)
        flat = [trial for own in shown.values() for trial in own]
        reused = {layer: run for layer, (run, _) in taken.items()}
        notes = result_sentences(flat, verdicts_of(shown))
        notes += [f"{layer}: taken from run {run}, of the same machine, protocol and sources."
                  for layer, run in reused.items()]  # fmt: skip
        if outcome is not None:
            notes.append(f"Every sample is in {store.name} (run {outcome.run}).")
        data = document(store, asked, outcome, {
            "by": by, "layers": layers_data(trials, by, reused),
            "reused_runs": [run_to_data(store.run(n)) for n in sorted(set(reused.values()))],
        })  # fmt: skip
        print_formatted(
            output.format,
            lambda style: "\n\n".join(
                [prose(suite_head(suite.name, suite.description), style),
                 side_by_side_text(trials, by, style), *(prose(note, style) for note in notes)]
            ) + others,
            lambda: data,
            lambda: [
                {"layer": layer["layer"], **row}
                for layer in data["layers"]
                for row in layer["rows"]
            ],
            quiet=output.quiet,
            json_to=output.json_to,
        )  # fmt: skip
    return ended(outcome, db) if outcome else 0


def layers_data(trials: "list[Trial]", by: "By", reused: dict[str, int]) -> list[dict[str, Any]]:
    """The layers of the JSON."""
    from gemmbench_results.report.side_by_side import side_by_side_data

    return side_by_side_data(trials, by, reused)


def sweep(
    asked: "Asked", sweeps: tuple[str, ...], options: "RunOptions", db: str, output: Output
) -> int:
    """The map of a grid around the first convolution; the exit code."""
    from gemmbench.cli.progress import ProgressLine
    from gemmbench.cli.run import busy_machine
    from gemmbench.compare import convolutions, run_sweep, sweep_seconds, within_memory
    from gemmbench.problem import Conv2d, problem_to_data
    from gemmbench.software import detect_software
    from gemmbench.sweep import make_grid, parse_axis
    from gemmbench_results.report.crossover import crossover_data, crossover_text
    from gemmbench_results.store import open_store

    suite = convolutions(asked.suites[0])
    base = suite.layers[0]
    if not isinstance(base.problem, Conv2d):  # convolutions() has left only those
        raise GemmbenchError(f"{suite.origin}: {base.name!r} is no convolution.")
    grid = make_grid(base.problem, [parse_axis(text) for text in sweeps])
    grid = within_memory(suite, grid, options)
    others = busy_machine()
    with open_store(db) as store:
        with ProgressLine(sweep_seconds(grid, options), quiet=output.quiet) as line:
            swept: Swept = run_sweep(
                suite, grid, options, asked.protocol, asked.machine, store, line, typed(),
                detect_software(),
            )  # fmt: skip
        outcome = swept.outcome
        found = {
            "suite": suite.name, "base": base.name, "problem": problem_to_data(base.problem),
            **crossover_data(swept),
        }  # fmt: skip
        data = document(store, asked, outcome, found)
        head = suite_head(f"{suite.name} {base.name}", weights_text(options))
        where = f"Every sample is in {store.name} (run {outcome.run})."
        print_formatted(
            output.format,
            lambda style: "\n\n".join([head, crossover_text(swept, style), where]) + others,
            lambda: data,
            lambda: point_rows(found["points"]),
            quiet=output.quiet,
            json_to=output.json_to,
        )
    return ended(outcome, db)


def settings(
    asked: "Asked", by: "SettingBy", options: "RunOptions", db: str, output: Output
) -> int:
    """Every contender of each layer under each fill, or hot and cold; the exit code."""
    from gemmbench.cli.measuring import check_cold
    from gemmbench.cli.progress import ProgressLine
    from gemmbench.cli.run import busy_machine
    from gemmbench.compare import race_settings, settings_of
    from gemmbench.run import begin_run
    from gemmbench.run_options import budget_seconds
    from gemmbench.run_outcome import exit_code
    from gemmbench.software import detect_software
    from gemmbench_results.report.ratios import ratios_data, ratios_text
    from gemmbench_results.store import open_store

    (suite,) = asked.suites
    if by == "cache":
        check_cold("cold", asked.machine)
    cold_bytes = 2 * (asked.machine.l2_bytes + asked.machine.l3_bytes)
    protocols = settings_of(by, asked.protocol, cold_bytes)
    software, command, others = detect_software(), typed(), busy_machine()
    seconds = budget_seconds([suite], options)
    ratios: list[Ratio] = []
    with open_store(db) as store:
        with ProgressLine(seconds, quiet=output.quiet) as line:
            first, *rest = protocols
            layers = [(suite, layer) for layer in suite.layers]
            runner = begin_run(
                layers, options, protocols[first], asked.machine, store, line, command, software
            )
            runs = {first: runner.outcome.run}
            for name in rest:
                own = protocols[name]
                runs[name] = store.begin(command, asked.machine, own, own.seed, software)
            outcome = runner.outcome

            def record(name: str, trial: "Trial") -> None:
                store.record(runs[name], trial)
                outcome.trials.append(trial)

            try:
                for position, layer in enumerate(suite.layers):
                    line.layer(suite.name, layer.name, position, len(suite.layers))
                    share = seconds / len(suite.layers)
                    ratios += race_settings(suite, layer, runner, protocols, share, record)
            except KeyboardInterrupt:
                outcome.interrupted = True
            finally:
                runner.close()
            for run in runs.values():
                store.end(run, exit_code(outcome))
        found = {"by": by, "runs": runs, "ratios": ratios_data(ratios, asked.machine)}
        data = document(store, asked, outcome, found)
        where = f"Every sample is in {store.name} (runs {', '.join(map(str, runs.values()))})."
        print_formatted(
            output.format,
            lambda style: "\n\n".join(
                [suite_head(suite.name, suite.description),
                 ratios_text(ratios, by, asked.machine, style), where]
            ) + others,
            lambda: data,
            lambda: ratios_data(ratios, asked.machine),
            quiet=output.quiet,
            json_to=output.json_to,
        )  # fmt: skip
    return ended(outcome, db)


def ended(outcome: "Outcome", db: str) -> int:
    """The exit code; says where the rest is if it was interrupted."""
    from gemmbench.run_outcome import exit_code

    if outcome.interrupted:
        click.echo(f"gemmbench: interrupted; what was measured is in {db}", err=True)
    return exit_code(outcome)


def document(
    store: "Store", asked: "Asked", outcome: "Outcome | None", found: dict[str, Any]
) -> dict[str, Any]:
    """The JSON object: what was found, and the machine and protocol that it holds for."""
    from gemmbench.machine import machine_to_data
    from gemmbench_results.report.as_json import run_to_data
    from gemmbench_results.report.render import finite
    from gemmbench_results.rows import protocol_to_data

    whole = {
        "schema": 1,
        "run": None if outcome is None else run_to_data(store.run(outcome.run)),
        "machine": machine_to_data(asked.machine),
        "protocol": protocol_to_data(asked.protocol),
        **found,
    }
    told: dict[str, Any] = finite(whole)
    return told


def point_rows(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row of CSV a point and algorithm; a point that was not measured has one row."""
    rows = []
    for point in points:
        own = {k: v for k, v in point.items() if k not in ("rows", "verdicts", "problem")}
        rows += [{**own, **trial} for trial in point["rows"]] or [own]
    return rows


def suite_head(name: str, text: str) -> str:
    """The line over a table."""
    return f"{name}: {text}".removesuffix(": ")


def weights_text(options: "RunOptions") -> str:
    """As 'prepared weights'."""
    return f"{' and '.join(options.weights)} weights"


def typed() -> str:
    """The command line, as it is kept with the run."""
    return shlex.join(["gemmbench", *sys.argv[1:]])
