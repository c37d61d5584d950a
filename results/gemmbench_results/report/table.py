"""The table of a suite: one row a layer and contender, fastest first.

Seconds are scaled here and nowhere else.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite

from gemmbench.ranking import is_implausible, may_win
from gemmbench.roofline import above_roof, roofline
from gemmbench.space import Config
from gemmbench.stats import Summary, Verdict
from gemmbench.trial import Trial, TrialState
from gemmbench_results.report.render import LEFT, RIGHT, TextFormat, notes_text, table_text
from gemmbench_results.report.standing import (
    Standing,
    fraction_of_peak,
    gflops,
    standings,
)

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
REASON_LENGTH = 90  # characters of a reason in the table; the JSON has all of it
WIDEST = 100  # percent; a wider interval says only that nothing is known
CHOSEN_ELSEWHERE = frozenset({"algorithm", "weights", "threads"})  # not tile sizes

COLUMNS = {
    "layer": LEFT,
    "m×k×n": LEFT,
    "backend": LEFT,
    "algorithm": LEFT,
    "time": LEFT,
    "GFLOP/s": RIGHT,
    "% of peak": RIGHT,
    "FLOP/B": RIGHT,
    "% of roof": LEFT,
    "speed": RIGHT,
    "error/bound": RIGHT,
    "max/rms error": RIGHT,
    "result": LEFT,
    "tile sizes": LEFT,  # or what went wrong; last, so that long texts widen no other column
}
SAME_WEIGHTS = "speed is against the fastest of the layer with the same weights, plain or prepared"
TOO_INEXACT = "inexact"
INEXACT_NOTE = "inexact: its largest error is above --max-error or the suite's, so it cannot win"
BROKEN = (TrialState.WRONG, TrialState.FAILED)
WITHIN_PROCESS = "~ interval within one process, narrower than the truth: raise --processes"
IMPLAUSIBLE = "! faster than the machine's measured peak: do not believe it before you know why"
ABOVE_ROOF = (
    "> faster than reading its operands and writing its output once allows: at the edge of a cache "
    "a blocked kernel can be, elsewhere do not believe it"
)
NOT_COLD = "not proven cold: its operands were read no faster at once again (as if larger than the "
NOT_COLD += "caches, or still in one)"
COLD_ENOUGH = 1.5  # times longer that operands from memory take to read than from a cache


def trial_table(
    trials: Sequence[Trial],
    verdicts: Mapping[str, Sequence[Verdict]],
    *,
    format: TextFormat = "table",  # noqa: A002  the command line's own word
) -> str:
    """The race trials of one suite as text, footnotes included; '' without any.

    `verdicts` are by layer, one for each kind of weights, their leaders indices into that layer's
    race trials. Columns that nothing fills are left out.
    """
    layers = standings(trials, verdicts)
    rows = [row for layer in layers.values() for row in _rows(layer)]
    if not rows:
        return ""
    columns = [name for name in COLUMNS if any(row[name] for row in rows)]
    kept = {name: COLUMNS[name] for name in columns}
    table = table_text(kept, [[row[name] for name in columns] for row in rows], format)
    notes = notes_text(list(footnotes([s for layer in layers.values() for s in layer])), format)
    return "\n\n".join(part for part in (table, notes) if part)


def time_text(summary: Summary) -> str:
    """'7.12 ms ±1.3 %': the median and the larger half of its interval; '~' for one process."""
    if summary.samples == 1:
        return f"{seconds_text(summary.median)} (once)"
    half = 100 * max(summary.high - summary.median, summary.median - summary.low) / summary.median
    sign = "~" if summary.within_process else "±"
    share = f">{WIDEST}" if half > WIDEST else digits(half, 2)
    return f"{seconds_text(summary.median)} {sign}{share} %"


def seconds_text(seconds: float) -> str:
    """Three significant digits with the unit that leaves at most three before the point."""
    for scale, unit in UNITS:
        if seconds >= 0.9995 * scale:
            return f"{digits(seconds / scale, 3)} {unit}"
    return f"{digits(seconds / UNITS[-1][0], 3)} {UNITS[-1][1]}"


def config_text(config: Config, *, tuned: bool) -> str:
    """'mr=8 nv=3 kc=320', with '(default)' behind it if no search found it."""
    knobs = [
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in config.items()
        if name not in CHOSEN_ELSEWHERE
    ]
    return " ".join([*knobs, *(["(default)"] if knobs and not tuned else [])])


def _rows(layer: Sequence[Standing]) -> Iterator[dict[str, str]]:
    """Cells by column; the layer's name and shape stand in its first row only."""
    for position, standing in enumerate(_shown(layer)):
        trial = standing.trial
        contender = trial.contender
        prepared = " prepared" if contender.weights == "prepared" else ""
        yield {
            "layer": "" if position else trial.layer,
            "m×k×n": "" if position else str(trial.problem.gemm()),
            "backend": contender.backend,
            "algorithm": f"{contender.algorithm}{prepared}",
            **_timing(trial, standing.summary),
            **_roof(trial, position == 0),
            "speed": "" if standing.speed is None else f"{standing.speed:.2f}",
            "error/bound": _error(trial),
            "max/rms error": accuracy_text(trial),
            "result": standing.mark or _result(standing),
            "tile sizes": _reason(trial)
            if trial.reason
            else config_text(contender.config, tuned=contender.tuned),
        }


def _shown(layer: Sequence[Standing]) -> list[Standing]:
    """Who took part; whoever declined goes to the footnotes, unless nobody took part."""
    taking_part = [s for s in layer if s.trial.state is not TrialState.SKIPPED]
    return taking_part or list(layer)


def _timing(trial: Trial, summary: Summary | None) -> dict[str, str]:
    if summary is None:
        return {"time": "", "GFLOP/s": "", "% of peak": ""}
    fraction = fraction_of_peak(trial, summary)
    flag = " !" if is_implausible(trial) else ""
    return {
        "time": time_text(summary),
        "GFLOP/s": digits(gflops(trial, summary), 3) + flag,
        "% of peak": "" if fraction is None else digits(100 * fraction, 3),
    }


def _roof(trial: Trial, first: bool) -> dict[str, str]:
    """The layer's intensity in its first row; how much of the roof a row reached, and of which."""
    found = roofline(trial)
    share = "" if found is None or found.share is None else digits(100 * found.share, 3)
    mark = " >" if above_roof(trial) and not is_implausible(trial) else ""
    return {
        "FLOP/B": digits(found.intensity, 3) if first and found else "",
        "% of roof": f"{share} {found.bound}{mark}" if found and share else "",
    }


def _reason(trial: Trial) -> str:
    """The beginning of the reason why a trial is not COMPLETE."""
    reason = " ".join(trial.reason.split())
    if len(reason) > REASON_LENGTH:
        reason = reason[: REASON_LENGTH - 1].rstrip() + "…"
    return reason


def _error(trial: Trial) -> str:
    """The largest error as a share of what is allowed; more than 1 is wrong."""
    if trial.max_error is None or trial.error_bound is None:
        return ""
    if trial.max_error == 0:
        return "0"
    share = trial.max_error / trial.error_bound if trial.error_bound else float("inf")
    if not isfinite(share):
        return "inf"
    return f"{share:.2f}" if share < 100 else f"{share:.1e}"


def accuracy_text(trial: Trial) -> str:
    """'1.4e-05/1.5e-06': the largest error and the rms one, over the rms of the answer."""
    if trial.relative_error is None or trial.rms_error is None:
        return ""
    return f"{trial.relative_error:.1e}/{trial.rms_error:.1e}"


def _result(standing: Standing) -> str:
    """What became of a contender that is no leader."""
    if not standing.summary:
        return str(standing.trial.state)
    return "" if may_win(standing.trial) else TOO_INEXACT


def footnotes(standing: Sequence[Standing]) -> Iterator[str]:
    """What marks in a table mean, where there are any, and who took no part."""
    timed = [(s.trial, s.summary) for s in standing if s.summary is not None]
    if len({trial.contender.weights for trial, _ in timed}) > 1:
        yield SAME_WEIGHTS
    if any(summary.within_process for _, summary in timed):
        yield WITHIN_PROCESS
    if any(not may_win(trial) for trial, _ in timed):
        yield INEXACT_NOTE
    if any(is_implausible(trial) for trial, _ in timed):
        yield IMPLAUSIBLE
    if any(above_roof(trial) and not is_implausible(trial) for trial, _ in timed):
        yield ABOVE_ROOF
    warm = [t for t, _ in timed if t.cold_ratio is not None and t.cold_ratio < COLD_ENOUGH]
    if warm:
        names = dict.fromkeys(f"{t.contender.label()} on {t.layer}" for t in warm)
        yield f"{NOT_COLD}: {', '.join(names)}"
    for trial in (s.trial for s in standing if s.trial.state in BROKEN):
        reason = " ".join(trial.reason.split())
        yield f"{trial.state}: {trial.contender.backend} on {trial.layer}: {reason}"
    declined: dict[tuple[str, str], list[str]] = {}
    for trial in (s.trial for s in standing if s.trial.state is TrialState.SKIPPED):
        declined.setdefault((trial.contender.backend, trial.reason), []).append(trial.layer)
    for (backend, reason), layers in declined.items():
        yield f"skipped: {backend} on {', '.join(layers)}: {' '.join(reason.split())}"


def digits(value: float, significant: int) -> str:
    """`value` with that many significant digits, fewer below 1 and all of them where large."""
    decimals = significant - 1
    for power in range(1, significant):
        if abs(value) >= 10**power - 0.5 * 10.0 ** (power - significant):
            decimals = significant - 1 - power
    return f"{value:.{decimals}f}"
