"""The stored winners of a suite's layers, for people and for other programs to read."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemmbench.machine import Machine, machine_to_data
from gemmbench.problem import problem_to_data
from gemmbench.stats import summarize
from gemmbench.trial import Trial, readable
from gemmbench_results.report.render import LEFT, TextFormat, prose, table_text


@dataclass(frozen=True, slots=True)
class Winner:
    """The fastest way of computing a layer, by what raced with what."""

    layer: str
    trial: Trial
    verdict: str  # winner, tie, undecided
    run: int  # that the trial and its time are of
    unraced: tuple[str, ...] = ()  # contenders that were timed, but in no race linked to this one
    stale: bool = False  # the kernel's source or its library changed since
    beside: tuple[int, ...] = ()  # other runs that the verdict rests on


def winners_table(
    winners: Sequence[Winner],
    again: str,
    format: TextFormat = "table",  # noqa: A002
) -> str:
    """One line a layer; under it, which runs the figures are of where there are several.

    `again` is the command that races all of them beside each other.
    """
    cells = [
        [
            winner.layer,
            readable(winner.trial.contender.label()),
            f"{1e3 * summarize(winner.trial.measurement).median:.4g}",
            str(winner.run),
            winner.verdict + (", stale" if winner.stale else ""),
            _config(winner.trial.contender.config),
        ]
        for winner in winners
    ]
    headers = ["layer", "contender", "ms", "in run", "result", "config"]
    table = table_text(dict.fromkeys(headers, LEFT), cells, format)
    notes = [*_runs(winners), *_unraced(winners, again)]
    return "\n\n".join([table, *(prose(line, format) for line in notes)])


def winners_data(
    winners: Sequence[Winner], machine: Machine, without: Sequence[str] = ()
) -> dict[str, Any]:
    """As JSON-able data; `without` are the layers that have no race."""
    return {
        "schema": 1,
        "machine": machine_to_data(machine),
        "winners": [
            {
                "layer": winner.layer,
                "problem": problem_to_data(winner.trial.problem),
                "backend": winner.trial.contender.backend,
                "algorithm": winner.trial.contender.algorithm,
                "weights": winner.trial.contender.weights,
                "config": dict(winner.trial.contender.config),
                "seconds": summarize(winner.trial.measurement).median,
                "threads": winner.trial.threads,
                "library": winner.trial.library,
                "source_hash": winner.trial.source_hash,
                "verdict": winner.verdict,
                "run": winner.run,
                "beside": list(winner.beside),
                "unraced": list(winner.unraced),
                "stale": winner.stale,
            }
            for winner in winners
        ],
        "without_race": list(without),
    }


def winners_yaml(data: Mapping[str, Any]) -> str:
    """What `winners_data` gives as YAML."""
    import yaml

    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return text


def winners_header(
    winners: Sequence[Winner], machine: Machine, suite: str, without: Sequence[str] = ()
) -> str:
    """A C header: GEMMBENCH_<LAYER>_<AXIS> for every axis of every winner."""
    guard = f"GEMMBENCH_{_identifier(suite)}_H"
    lines = [
        f"/* gemmbench: the fastest configs of {suite} on {machine.cpu} ({machine.key()}). */",
        f"#ifndef {guard}",
        f"#define {guard}",
    ]
    for winner in winners:
        trial, prefix = winner.trial, f"GEMMBENCH_{_identifier(winner.layer)}"
        what = f"{trial.problem.gemm()} {trial.problem.dtype}, {winner.verdict}, run {winner.run}"
        lines += ["", f"/* {what} */"]
        names = {"backend": trial.contender.backend, "algorithm": trial.contender.algorithm}
        for name, value in {**names, **trial.contender.config}.items():
            lines.append(f"#define {prefix}_{_identifier(name)} {_literal(value)}")
    if without:
        lines += ["", f"/* no race is stored of {', '.join(map(_identifier, without))} */"]
    return "\n".join([*lines, "", f"#endif /* {guard} */"])


def _runs(winners: Sequence[Winner]) -> list[str]:
    """What a figure of one run says beside one of another; nothing where all are of one."""
    lines = []
    if len({run for winner in winners for run in (winner.run, *winner.beside)}) > 1:
        lines.append(
            "ms: the median call in the run beside it; times of different runs cannot be compared, "
            "for the machine's pace differs."
        )
    rests = [
        f"{one.layer} (run {', '.join(map(str, one.beside))})" for one in winners if one.beside
    ]
    if rests:
        lines.append(f"Results that rest on races of other runs, too: {', '.join(rests)}.")
    return lines


def _unraced(winners: Sequence[Winner], again: str) -> list[str]:
    """A line that names who shares no race with a layer's winner; nothing where all do."""
    pairs = [f"{readable(one)} on {winner.layer}" for winner in winners for one in winner.unraced]
    if not pairs:
        return []
    return [f"Not raced beside these winners: {', '.join(pairs)}. To decide: {again}"]


def _identifier(text: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return json.dumps(value)


def _config(config: Mapping[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in config.items())
