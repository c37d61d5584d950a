"""Who stands as the winner of a problem when its contenders raced on different days.

The newest race decides between those who took part in it. Whoever raced only earlier is compared
through what ran in both races unchanged (same source, same config), since times of two days are
not comparable and ratios taken side by side are. Where nothing links them the bare times decide,
which is not sure unless they are far apart, and it is said who was not raced.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from gemmbench.ranking import may_win, rank
from gemmbench.space import config_key
from gemmbench.stats import PLAINLY_SLOWER, VerdictKind, judge, median_ratio, summarize
from gemmbench.trial import Trial, TrialState

CERTAINTY: tuple[VerdictKind, ...] = ("winner", "tie", "undecided", "none")  # the surest first
Exact = tuple[object, ...]  # a contender with its config and the source it was made from


@dataclass(frozen=True, slots=True)
class Champion:
    """The fastest way of computing a problem, as far as it is known."""

    trial: Trial
    verdict: VerdictKind
    run: int
    unraced: tuple[str, ...] = ()  # labels of others that no race links to this one
    beside: tuple[int, ...] = ()  # other runs whose contenders it was compared with, newest first


@dataclass(slots=True)
class Known:
    """What the races read so far say, in seconds at the pace of the newest."""

    seconds: dict[Exact, float] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)

    def pace(self, timed: Sequence[Trial]) -> float | None:
        """By what the seconds of another race are multiplied; None where nothing links it."""
        if not self.seconds:
            return 1.0
        return median_ratio(
            (self.seconds[exact(trial)], seconds_of(trial))
            for trial in timed
            if exact(trial) in self.seconds
        )

    def not_yet(self, timed: Sequence[Trial]) -> list[Trial]:
        """Those whose contender no newer race had."""
        return [trial for trial in timed if trial.contender.label() not in self.labels]

    def add(self, timed: Sequence[Trial], pace: float) -> None:
        """Take in a race; what a newer one says of a contender stays."""
        for trial in timed:
            self.seconds.setdefault(exact(trial), pace * seconds_of(trial))
            self.labels.add(trial.contender.label())


def champion(
    races: Iterable[tuple[int, Sequence[Trial]]], weights: str, backend: str | None = None
) -> Champion | None:
    """The winner over `races` of one problem, the newest first; None if nobody was timed.

    Only contenders with `weights`, and of `backend` where one is named, take part.
    """
    found: Champion | None = None
    known = Known()
    apart: list[tuple[int, list[Trial]]] = []
    heard: list[int] = []
    for run, trials in races:
        timed = [trial for trial in trials if _takes_part(trial, weights, backend)]
        pace = known.pace(timed)
        if pace is None:
            apart.append((run, timed))
            continue
        if known.not_yet(timed):
            heard.append(run)
        if found is None and timed:
            found = _winner(run, timed)
        elif found is not None:
            found = _challenged(found, known, run, timed, pace)
        known.add(timed, pace)
    for run, timed in apart:
        fresh = known.not_yet(timed)
        if found is not None and fresh:
            heard.append(run)
            before, linked = found, sorted(known.labels)
            found = _challenged(found, known, run, fresh, 1.0)
            others = linked if found.run != before.run else _labels(fresh)
            found = replace(found, unraced=tuple(dict.fromkeys([*before.unraced, *others])))
            known.add(fresh, 1.0)
    if found is None:
        return None
    return replace(found, beside=tuple(run for run in heard if run != found.run))


def exact(trial: Trial) -> Exact:
    """Equal for trials of the very same code: what may link two races."""
    one = trial.contender
    named = (one.backend, one.algorithm, one.weights, one.environment)
    return *named, config_key(one.config), trial.source_hash


def seconds_of(trial: Trial) -> float:
    """Seconds per call of a trial that was timed."""
    return summarize(trial.measurement).median


def _takes_part(trial: Trial, weights: str, backend: str | None) -> bool:
    one, complete = trial.contender, trial.state is TrialState.COMPLETE
    timed = complete and bool(trial.measurement) and may_win(trial)
    return timed and one.weights == weights and backend in (None, one.backend)


def _winner(run: int, timed: Sequence[Trial]) -> Champion:
    """The leader of one race; its configs have to beat each other, too."""
    (verdict,) = rank(timed)
    first = timed[verdict.leaders[0]]
    label = first.contender.label()
    own = [trial.measurement for trial in timed if trial.contender.label() == label]
    kind = judge(own).kind if verdict.kind == "winner" else verdict.kind
    return Champion(first, kind, run)


def _challenged(
    holder: Champion, known: Known, run: int, timed: Sequence[Trial], pace: float
) -> Champion:
    """The winner once the contenders of an older race are heard that were in no newer one.

    Where the holder itself ran beside them, that race judges, whatever else links the two; else
    the times at one pace decide, and only a plain lead is sure. Nothing gets surer by it.
    """
    fresh = known.not_yet(timed)
    if not fresh:
        return holder
    beside = [trial for trial in timed if exact(trial) == exact(holder.trial)]
    first = _winner(run, [*beside, *fresh])
    if beside:
        holds, kind = exact(first.trial) == exact(holder.trial), first.verdict
    else:
        lead = known.seconds[exact(holder.trial)] / (pace * seconds_of(first.trial))
        holds, sure = lead <= 1, max(lead, 1 / lead) > PLAINLY_SLOWER
        kind = "undecided" if not sure else "winner" if holds else first.verdict
    kind = max(holder.verdict, kind, key=CERTAINTY.index)
    return replace(holder if holds else replace(first, unraced=holder.unraced), verdict=kind)


def _labels(trials: Sequence[Trial]) -> list[str]:
    return list(dict.fromkeys(trial.contender.label() for trial in trials))
