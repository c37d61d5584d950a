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
    run: int
    unraced: tuple[str, ...] = ()  # contenders that were timed, but in no race linked to this one
    stale: bool = False  # the kernel's source or its library changed since


def winners_table(winners: Sequence[Winner], format: TextFormat = "table") -> str:  # noqa: A002
    """One line a layer."""
    cells = [
        [
            winner.layer,
            readable(winner.trial.contender.label()),
            f"{1e3 * summarize(winner.trial.measurement).median:.4g}",
            winner.verdict + (", stale" if winner.stale else ""),
            str(winner.run),
            _config(winner.trial.contender.config),
        ]
        for winner in winners
    ]
    headers = ["layer", "contender", "ms", "result", "run", "config"]
    table = table_text(dict.fromkeys(headers, LEFT), cells, format)
    return "\n\n".join([table, *(prose(line, format) for line in _unraced(winners))])


def winners_data(winners: Sequence[Winner], machine: Machine) -> dict[str, Any]:
    """As JSON-able data."""
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
                "unraced": list(winner.unraced),
                "stale": winner.stale,
            }
            for winner in winners
        ],
    }


def winners_yaml(winners: Sequence[Winner], machine: Machine) -> str:
    """The same as YAML."""
    import yaml

    text: str = yaml.safe_dump(winners_data(winners, machine), sort_keys=False, allow_unicode=True)
    return text


def winners_header(winners: Sequence[Winner], machine: Machine, suite: str) -> str:
    """A C header: GEMMBENCH_<LAYER>_<AXIS> for every axis of every winner."""
    guard = f"GEMMBENCH_{_identifier(suite)}_H"
    lines = [
        f"/* gemmbench: the fastest configs of {suite} on {machine.cpu} ({machine.key()}). */",
        f"#ifndef {guard}",
        f"#define {guard}",
    ]
    for winner in winners:
        trial, prefix = winner.trial, f"GEMMBENCH_{_identifier(winner.layer)}"
        lines += ["", f"/* {trial.problem.gemm()} {trial.problem.dtype}, {winner.verdict} */"]
        names = {"backend": trial.contender.backend, "algorithm": trial.contender.algorithm}
        for name, value in {**names, **trial.contender.config}.items():
            lines.append(f"#define {prefix}_{_identifier(name)} {_literal(value)}")
    return "\n".join([*lines, "", f"#endif /* {guard} */"])


def _unraced(winners: Sequence[Winner]) -> list[str]:
    """A line that names who shares no race with a layer's winner; nothing where all do."""
    pairs = [f"{readable(one)} on {winner.layer}" for winner in winners for one in winner.unraced]
    if not pairs:
        return []
    return [f"Not raced beside these winners: {', '.join(pairs)}. To decide: gemmbench run SUITE."]


def _identifier(text: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return json.dumps(value)


def _config(config: Mapping[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in config.items())
