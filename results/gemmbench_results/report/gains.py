"""What tuning gained: each winner against the default config and the winner before it.

They raced together in fresh processes, so these are the figures of that race and not of the
search, whose best sample is a lucky one.
"""

from collections.abc import Collection, Sequence
from math import expm1, isfinite

from gemmbench.ranking import may_win
from gemmbench.stats import VERDICT_CONFIDENCE, judge, summarize
from gemmbench.trial import Trial, TrialState


def gain_sentences(
    trials: Sequence[Trial], searched: Collection[tuple[str, str, str]]
) -> list[str]:
    """One sentence for each layer and contender that was tuned: a gain, a tie, or undecided.

    `searched` are the suites, layers and labels that had configs measured. Who is less exact than
    was asked for gains nothing.
    """
    groups: dict[tuple[str, str, str], list[Trial]] = {}
    for trial in trials:
        timed = trial.state is TrialState.COMPLETE and bool(trial.measurement)
        if timed and may_win(trial) and trial.contender.config:
            key = (trial.suite, trial.layer, trial.contender.label())
            groups.setdefault(key, []).append(trial)
    return [
        f"{layer}: {label}: {_sentence(group)}"
        for (suite, layer, label), group in groups.items()
        if (suite, layer, label) in searched or any(t.contender.tuned for t in group)
    ]


def _sentence(group: Sequence[Trial]) -> str:
    """As 'mr=8 kc=256 beats the default (mr=4 kc=128) by 1.8 % ± 0.6 %.'."""
    order = sorted(group, key=lambda trial: summarize(trial.measurement).median)
    best, rivals = order[0], order[1:]
    if not rivals:
        name = config_text(best) if best.contender.tuned else f"the default, {config_text(best)},"
        return f"{name} is the best that was found."
    return " ".join(_against(best, rival) for rival in rivals)


def _against(best: Trial, rival: Trial) -> str:
    verdict = judge([best.measurement, rival.measurement])
    pair = f"{_name(best)} and {_name(rival)}"
    slower = f"slower than {_name(best)}{'' if best.contender.tuned else ', which stays'}"
    if verdict.margin is None or verdict.low is None or verdict.high is None:
        return f"{_name(rival)} left the race early, {slower}."
    if not (isfinite(verdict.low) and isfinite(verdict.high)):
        return f"{_name(rival)} left the race early, about {percent(verdict.margin)} {slower}."
    effect = f"{percent(verdict.margin)} ± {percent((verdict.high - verdict.low) / 2)}"
    if verdict.kind == "winner":
        return f"{_name(best)} beats {_name(rival)} by {effect} ({_scope(best, rival)})."
    if verdict.kind == "tie":
        return f"{pair} tie ({effect})."
    return f"between {pair} it is undecided ({effect})."


def _scope(*trials: Trial) -> str:
    """What the interval covers: other processes too, or one only, where it is too narrow."""
    if min(len(trial.measurement.processes()) for trial in trials if trial.measurement) > 1:
        return f"{100 * VERDICT_CONFIDENCE:.0f} % confidence"
    return "within one process"


def _name(trial: Trial) -> str:
    kind = "" if trial.contender.tuned else "the default "
    return f"{kind}{config_text(trial)}"


def config_text(trial: Trial) -> str:
    """The config as 'mr=8 kc=256'."""
    return " ".join(f"{name}={value}" for name, value in trial.contender.config.items())


def percent(log_ratio: float) -> str:
    """A difference of logarithms as '1.8 %'."""
    return f"{100 * expm1(log_ratio):.1f} %"
