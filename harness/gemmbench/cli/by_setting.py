"""`gemmbench compare --by fill|cache`: each contender against itself under other settings."""

from typing import TYPE_CHECKING

from gemmbench.cli.comparing import document, suite_head
from gemmbench.cli.formats import print_formatted
from gemmbench.cli.given import check_cold, cold_bytes
from gemmbench.cli.plan import print_plan
from gemmbench.cli.racing import busy_machine, ended, overrun, typed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemmbench.cli.given import Asked, Given
    from gemmbench.compare.settings import Ratio, SettingBy
    from gemmbench.run_options import RunOptions
    from gemmbench.run_outcome import Outcome
    from gemmbench.trial import RaceProtocol, Trial
    from gemmbench_results.report.render import TableFormat
    from gemmbench_results.store import Store


def by_setting(
    asked: "Asked",
    by: "SettingBy",
    options: "RunOptions",
    given: "Given",
    format_: "TableFormat",
) -> int:
    """Every contender of each layer under each fill, or hot and cold; the exit code."""
    from gemmbench_results.report.ratios import ratios_data, ratios_text
    from gemmbench_results.store import open_store

    (suite,) = asked.suites
    protocols, others = protocols_of(asked, by), busy_machine()
    with open_store(given.db) as store:
        outcome, runs, ratios = race_all(store, asked, protocols, options, quiet=given.quiet)
        rows = ratios_data(ratios, asked.machine)
        data = document(store, asked, outcome, {"by": by, "runs": runs, "ratios": rows})
        head = suite_head(suite.name, suite.description)
        where = f"Every sample is in {store.name} (runs {', '.join(map(str, runs.values()))})."
        print_formatted(
            format_,
            lambda style: (
                "\n\n".join([head, ratios_text(ratios, by, asked.machine, style), where])
                + overrun(asked.suites, options, outcome)
                + others
            ),
            lambda: data,
            lambda: rows,
            quiet=given.quiet,
            json_to=given.json_to,
        )
    return ended(outcome, given.db)


def print_settings(asked: "Asked", by: "SettingBy", options: "RunOptions") -> int:
    """Print what would be raced under which settings; always 0."""
    from gemmbench.run_options import budget_seconds

    names = " and ".join(protocols_of(asked, by))
    told = {
        "fill": f"{asked.protocol.cache} cache, {names} operands",
        "cache": f"{names} cache, {asked.protocol.fill} operands",
    }
    return print_plan(asked.suites, asked, options, budget_seconds(asked.suites, options), told[by])


def protocols_of(asked: "Asked", by: "SettingBy") -> "dict[str, RaceProtocol]":
    """The protocol of each setting, by its name, the base first."""
    from gemmbench.compare.settings import settings_of

    if by == "cache":
        check_cold("cold", asked.machine)
    return settings_of(by, asked.protocol, cold_bytes(asked.machine))


def race_all(
    store: "Store",
    asked: "Asked",
    protocols: "Mapping[str, RaceProtocol]",
    options: "RunOptions",
    *,
    quiet: bool,
) -> "tuple[Outcome, dict[str, int], list[Ratio]]":
    """The outcome, the run of each setting, and the ratios, as far as it came."""
    from gemmbench.cli.progress import ProgressLine
    from gemmbench.compare.settings import race_settings
    from gemmbench.run import begin_run
    from gemmbench.run_options import budget_seconds
    from gemmbench.run_outcome import exit_code
    from gemmbench.software import detect_software

    (suite,), software, command = asked.suites, detect_software(), typed()
    seconds = budget_seconds([suite], options)
    ratios: list[Ratio] = []
    with ProgressLine(seconds, quiet=quiet) as line:
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
    return outcome, runs, ratios
