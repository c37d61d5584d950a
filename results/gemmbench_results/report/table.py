"""The table of a suite: one row a layer and contender, fastest first.

Seconds are scaled here and nowhere else. A terminal has about 120 columns: what a reader seldom
needs (intensity, both errors, the tile sizes of who is slower) is in the JSON and CSV alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite

from gemmbench.ranking import is_implausible, may_win
from gemmbench.roofline import above_roof, roofline
from gemmbench.space import Config
from gemmbench.stats import Summary, Verdict
from gemmbench.trial import Trial, TrialState, readable
from gemmbench_results.report.render import LEFT, RIGHT, TextFormat, narrow_text, notes_text
from gemmbench_results.report.standing import (
    Standing,
    fraction_of_peak,
    gflops,
    standings,
)

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
WIDEST = 100  # percent; a wider interval says only that nothing is known
CHOSEN_ELSEWHERE = frozenset({"algorithm", "weights", "threads"})  # not tile sizes

COLUMNS = {
    "layer": LEFT,
    "m×k×n": LEFT,
    "contender": LEFT,
    "time": LEFT,
    "GFLOP/s": RIGHT,
    "% of peak": RIGHT,
    "% of roof": LEFT,
    "speed": RIGHT,
    "error/bound": RIGHT,
    "max/rms error": RIGHT,  # where a limit is set
    "result": LEFT,
}
TUNED = "* tile sizes that a search found; the others are the defaults, from cache sizes"
TILES = "Tile sizes of who leads (of all in --format json):"
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
    table = narrow_text(kept, [[row[name] for name in columns] for row in rows], format)
    standing = [s for layer in layers.values() for s in layer]
    tuned = [TUNED] if any(s.trial.contender.tuned for s in standing) else []
    notes = notes_text([*tuned, *footnotes(standing)], format)
    tiles = [line for layer in layers.values() for line in _tiles(layer)]
    sizes = notes_text([TILES, *tiles], format) if tiles else ""
    return "\n\n".join(part for part in (table, notes, sizes) if part)


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
        yield {
            "layer": "" if position else trial.layer,
            "m×k×n": "" if position else str(trial.problem.gemm()),
            "contender": f"{readable(trial.contender.label())}{' *' * trial.contender.tuned}",
            **_timing(trial, standing.summary),
            "% of roof": _roof(trial),
            "speed": "" if standing.speed is None else f"{standing.speed:.2f}",
            "error/bound": _error(trial),
            "max/rms error": accuracy_text(trial) if trial.error_limit is not None else "",
            "result": result_text(standing),
        }


def _tiles(layer: Sequence[Standing]) -> Iterator[str]:
    """As 'conv1, numba im2col: mr=8 nv=3', of those that lead, or of the fastest."""
    timed = [standing for standing in layer if standing.summary is not None]
    for standing in [s for s in timed if s.mark] or timed[:1]:
        one = standing.trial.contender
        if config := config_text(one.config, tuned=one.tuned):
            yield f"{standing.trial.layer}, {readable(one.label())}: {config}"


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


def _roof(trial: Trial) -> str:
    """How much a row reached of the roof over it; 'memory' where that bounds it."""
    found = roofline(trial)
    if found is None or found.share is None:
        return ""
    words = [digits(100 * found.share, 3)]
    words += ["memory"] if found.bound == "memory" else []
    words += [">"] if above_roof(trial) and not is_implausible(trial) else []
    return " ".join(words)


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


def result_text(standing: Standing) -> str:
    """Winner, tie or undecided of a leader; of others what went wrong, '' where nothing did."""
    if standing.mark:
        return standing.mark
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
        yield f"{trial.state}: {readable(trial.contender.label())} on {trial.layer}: {reason}"
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
