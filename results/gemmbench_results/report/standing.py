"""Trials of a suite as they stand in their layer: what the table and the sentences both say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gemmbench.ranking import may_win
from gemmbench.stats import Summary, Verdict, summarize
from gemmbench.trial import Environment, Trial, TrialState

Mark = Literal["winner", "tie", "undecided", ""]
ContenderKey = tuple[str, str, str, Environment]


@dataclass(frozen=True, slots=True)
class Standing:
    """A race trial beside the others of its layer."""

    trial: Trial
    summary: Summary | None  # None unless COMPLETE
    speed: float | None  # against the fastest that may win with the same weights, which has 1
    mark: Mark


def summary_of(trial: Trial) -> Summary | None:
    """Seconds per call of a COMPLETE trial; None for any other, whatever was timed of it."""
    if trial.state is not TrialState.COMPLETE or not trial.measurement:
        return None
    return summarize(trial.measurement)


def gflops(trial: Trial, summary: Summary) -> float:
    """GFLOP/s by the operations of the direct method."""
    return trial.problem.flops() / summary.median / 1e9


def fraction_of_peak(trial: Trial, summary: Summary) -> float | None:
    """FLOP/s by the direct method over the peak raced beside it; None without a peak."""
    if not trial.peak_flops:
        return None
    return gflops(trial, summary) * 1e9 / trial.peak_flops


def layers_of(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """The race trials of each layer, layers in the order they first appear."""
    layers: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.purpose == "race":
            layers.setdefault(trial.layer, []).append(trial)
    return layers


def standings(
    trials: Sequence[Trial], verdicts: Mapping[str, Sequence[Verdict]]
) -> dict[str, list[Standing]]:
    """Standings by layer, fastest first, then what did not complete.

    Of a contender raced with its default and with a tuned config only the faster one stands, or
    the one that may win, if that is only one; whatever is not COMPLETE always does. `verdicts` are
    by layer, one for each kind of weights, their leaders indices into the layer's race trials.
    """
    return {layer: _stand(own, verdicts.get(layer, ())) for layer, own in layers_of(trials).items()}


def contender_key(trial: Trial) -> ContenderKey:
    """What stays the same when a contender is tuned."""
    contender = trial.contender
    return (contender.backend, contender.algorithm, contender.weights, contender.environment)


def _stand(trials: Sequence[Trial], verdicts: Sequence[Verdict]) -> list[Standing]:
    pairs = [(trial, summary_of(trial)) for trial in trials]
    timed: dict[ContenderKey, tuple[Trial, Summary]] = {}
    for trial, summary in pairs:
        key = contender_key(trial)
        if summary and (key not in timed or _pace(trial, summary) < _pace(*timed[key])):
            timed[key] = (trial, summary)
    medians: dict[str, list[float]] = {}
    best: dict[str, tuple[bool, float]] = {}
    for trial, summary in timed.values():
        weights, pace = trial.contender.weights, _pace(trial, summary)
        medians.setdefault(weights, []).append(summary.median)
        best[weights] = min(pace, best.get(weights, pace))
    marks = _marks(trials, verdicts)
    ranked = [
        Standing(
            trial,
            summary,
            speed=best[trial.contender.weights][1] / summary.median,
            # Who raced alone has not won anything.
            mark=marks.get(key, "") if len(medians[trial.contender.weights]) > 1 else "",
        )
        for key, (trial, summary) in sorted(timed.items(), key=lambda item: item[1][1].median)
    ]
    return [*ranked, *(Standing(trial, None, None, "") for trial, s in pairs if s is None)]


def _pace(trial: Trial, summary: Summary) -> tuple[bool, float]:
    """Orders trials: those that may win first, and faster ones before slower ones."""
    return not may_win(trial), summary.median


def _marks(trials: Sequence[Trial], verdicts: Sequence[Verdict]) -> dict[ContenderKey, Mark]:
    """The mark of each leader; a contender that ties only with itself, tuned and not, has won."""
    marks: dict[ContenderKey, Mark] = {}
    for verdict in verdicts:
        leaders = {contender_key(trials[index]) for index in verdict.leaders}
        alone = verdict.kind == "tie" and len(leaders) == 1
        if verdict.kind != "none":
            marks.update(dict.fromkeys(leaders, "winner" if alone else verdict.kind))
    return marks
