"""Who won: verdicts over the trials of one layer's race.

Statistics decide between measurements (`stats.py`); this is what may be compared with what.
"""

from collections.abc import Sequence
from dataclasses import replace

from gemmbench.algorithm import TRANSFORM_ALGORITHMS
from gemmbench.stats import Verdict, judge, summarize
from gemmbench.trial import Contender, Trial, TrialState

PEAK_TOLERANCE = 1.10  # the peak is itself a measurement, good to a few percent


def rank(trials: Sequence[Trial]) -> tuple[Verdict, ...]:
    """A verdict for each kind of weights in one layer's race; leaders are indices into `trials`.

    Prepared weights are ranked only among themselves, and of several configs of one contender
    the fastest stands for it, so that it does not tie with itself.
    """
    verdicts = []
    for kind in dict.fromkeys(trial.contender.weights for trial in trials):
        chosen = champions(trials, kind)
        verdict = judge([trials[i].measurement for i in chosen])
        leaders = tuple(chosen[i] for i in verdict.leaders)
        doubtful = verdict.kind == "winner" and is_implausible(trials[leaders[0]])
        kind_ = "undecided" if doubtful else verdict.kind
        verdicts.append(replace(verdict, leaders=leaders, kind=kind_))
    return tuple(verdicts)


def is_doubtful(verdict: Verdict) -> bool:
    """Whether one leads alone and is still no winner: it passed the machine's peak."""
    return verdict.kind == "undecided" and len(verdict.leaders) == 1


def is_transform(contender: Contender) -> bool:
    """Whether it computes by transforms, which execute fewer operations than the direct method."""
    return contender.algorithm in TRANSFORM_ALGORITHMS


def is_implausible(trial: Trial) -> bool:
    """Whether it executed its operations faster than the machine's peak, by more than 10 %.

    A transform that does not tell its own operations cannot be judged.
    """
    silent = is_transform(trial.contender) and trial.own_flops is None
    if silent or not trial.peak_flops or not trial.measurement:
        return False
    executed = trial.own_flops if trial.own_flops is not None else trial.problem.flops()
    return executed / summarize(trial.measurement).median > PEAK_TOLERANCE * trial.peak_flops


def may_win(trial: Trial) -> bool:
    """Whether its error is within the limit that was asked for; an unknown one is not."""
    if trial.error_limit is None:
        return True
    return trial.relative_error is not None and trial.relative_error <= trial.error_limit


def too_inexact(trial: Trial) -> bool:
    """Whether its error is known, and above the limit that was asked for."""
    return trial.relative_error is not None and not may_win(trial)


def champions(trials: Sequence[Trial], weights: str, *, inexact: bool = False) -> list[int]:
    """Indices of the timed trials with `weights` that may win, the fastest of each contender.

    With `inexact` also those whose error is above the limit.
    """
    best: dict[tuple[object, ...], tuple[float, int]] = {}
    for index, trial in enumerate(trials):
        one = trial.contender
        timed = trial.state is TrialState.COMPLETE and bool(trial.measurement)
        if timed and one.weights == weights and (inexact or may_win(trial)):
            key = (one.backend, one.algorithm, one.environment)
            pace = (summarize(trial.measurement).median, index)
            best[key] = min(pace, best.get(key, pace))
    return [index for _, index in best.values()]
