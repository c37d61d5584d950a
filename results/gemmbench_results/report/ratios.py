"""Each contender under several fills, or hot and cold: how many times longer it takes."""

from collections.abc import Sequence
from math import exp, isfinite
from typing import Any

from gemmbench.compare.settings import Ratio, SettingBy, coldness
from gemmbench.machine import Machine
from gemmbench.stats import Effect, summarize
from gemmbench.trial import Trial
from gemmbench_results.report.as_json import trial_to_data
from gemmbench_results.report.render import LEFT, RIGHT, TextFormat, notes_text, table_text
from gemmbench_results.report.table import COLD_ENOUGH, time_text

NOTE = (
    "ratio: of the times, with its 98 % interval over fresh processes, raced in the same rounds; "
    "~ one process only"
)
COLD_NOTE = (
    "cold check: how many times longer the operands took to read before a call than at once again; "
    f"cold from {COLD_ENOUGH:g} on"
)


def ratios_text(
    ratios: Sequence[Ratio],
    by: SettingBy,
    machine: Machine,
    format: TextFormat = "table",  # noqa: A002
) -> str:
    """One row a contender and setting; '' without any."""
    if not ratios:
        return ""
    columns = {"layer": LEFT, "contender": LEFT, "base": LEFT, by: LEFT, "time": LEFT,
               "ratio": RIGHT, "interval": LEFT}  # fmt: skip
    if by == "cache":
        columns["cold check"] = LEFT
    rows = [_row(ratio, by, machine) for ratio in ratios]
    notes = [NOTE, *([COLD_NOTE] if by == "cache" else [])]
    return "\n\n".join([table_text(columns, rows, format), notes_text(notes, format)])


def ratios_data(ratios: Sequence[Ratio], machine: Machine) -> list[dict[str, Any]]:
    """The ratios as JSON-able data, each with both trials."""
    return [
        {
            "layer": one.layer,
            "backend": one.base.contender.backend,
            "algorithm": one.base.contender.algorithm,
            "weights": one.base.contender.weights,
            "setting": one.setting,
            "ratio": None if one.effect is None else exp(one.effect.estimate),
            "low": None if one.effect is None else _exp(one.effect.low),
            "high": None if one.effect is None else _exp(one.effect.high),
            "processes": None if one.effect is None else one.effect.processes,
            "cold": coldness(one, machine, COLD_ENOUGH) if one.setting == "cold" else None,
            "base": trial_to_data(one.base),
            "other": trial_to_data(one.other),
        }
        for one in ratios
    ]


def _row(ratio: Ratio, by: SettingBy, machine: Machine) -> list[str]:
    cells = [
        ratio.layer,
        ratio.base.contender.label(),
        _time(ratio.base),
        ratio.setting,
        _time(ratio.other),
        "" if ratio.effect is None else f"{exp(ratio.effect.estimate):.3f}",
        _interval(ratio.effect),
    ]
    if by == "cache":
        found = ratio.other.cold_ratio
        times = "" if found is None else f" ({found:.1f})"
        cells.append(f"{coldness(ratio, machine, COLD_ENOUGH)}{times}")
    return cells


def _time(trial: Trial) -> str:
    return time_text(summarize(trial.measurement)) if trial.measurement else str(trial.state)


def _interval(effect: Effect | None) -> str:
    if effect is None:
        return ""
    sign = "~" if effect.processes == 1 else ""
    ends = (f"{_exp(end):.3f}" if isfinite(end) else "?" for end in (effect.low, effect.high))
    return f"{sign}[{', '.join(ends)}]"


def _exp(end: float) -> float:
    return exp(end) if isfinite(end) else end
