"""Which stored evaluations are results of this very search, and which only resemble it.

A machine's pace differs from one search to the next, so what several of them measured is brought
to the pace of the newest by the configs that both know, never by anything else.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log2

from gemmbench.problem import Problem
from gemmbench.space import ConfigKey, config_key
from gemmbench.stats import median_ratio
from gemmbench.trial import Evaluation
from gemmbench.tune.evidence import Result, Source

TIME_OUTS = 2  # of a config, before it counts as one that hangs: once may be the machine's doing

Group = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known before a search begins."""

    stored: tuple[Result, ...] = ()  # of this problem and kernel, on this machine
    sources: tuple[Source, ...] = ()  # of others, the most alike first


def recall(evaluations: Sequence[Evaluation], problem: Problem, source_hash: str) -> Memory:
    """`evaluations`, oldest first, as they bear on `problem` and the kernel's present source.

    The newest result of a config counts, at the pace of the newest search. Of other problems,
    those of the same kind and type of elements are sources: this machine's before others', the
    present source's before older ones', then the nearest shape. Results of this problem that no
    config links to the newest ones are a source too.
    """
    groups: dict[Group, list[Evaluation]] = {}
    for one in evaluations:
        if one.problem.kind == problem.kind and one.problem.dtype == problem.dtype:
            group = (one.problem, one.here, one.machine, one.source_hash)
            groups.setdefault(group, []).append(one)
    stored: tuple[Result, ...] = ()
    sources: list[tuple[tuple[bool, bool, float], Source]] = []
    for found in groups.values():
        linked, apart = at_one_pace(found)
        if _is_this(found[0], problem, source_hash):
            stored = _results(linked)
        else:
            sources.append((_unlikeness(found[0], problem, source_hash), _results(linked)))
        while apart:
            linked, apart = at_one_pace(apart)
            sources.append((_unlikeness(found[0], problem, source_hash), _results(linked)))
    sources.sort(key=lambda source: source[0])
    return Memory(stored, tuple(source for _, source in sources))


def at_one_pace(
    evaluations: Sequence[Evaluation],
) -> tuple[list[Evaluation], list[Evaluation]]:
    """One evaluation a config as if all were measured in the newest moment, and those left over.

    `evaluations`, oldest first, are one kernel's on one problem and machine. The seconds of a
    moment are scaled by the median ratio over the configs that newer moments measured too; left
    over is what has none in common. A time-out counts from the second one on.
    """
    moments = _by_moment(evaluations)
    newest = moments.pop()
    linked, apart = newest, moments
    found = True
    while found:
        found = False
        for moment in reversed(apart):
            pace = _pace(linked, moment)
            if pace is not None:
                linked |= {
                    name: replace(one, seconds=None if one.seconds is None else pace * one.seconds)
                    for name, one in moment.items()
                    if name not in linked
                }
                apart = [other for other in apart if other is not moment]
                found = True
                break
    return list(linked.values()), [one for moment in apart for one in moment.values()]


def _by_moment(evaluations: Sequence[Evaluation]) -> list[dict[ConfigKey, Evaluation]]:
    """The evaluations that count by moment and config, oldest moment first."""
    names = [config_key(one.config) for one in evaluations]
    hung = Counter(n for n, one in zip(names, evaluations, strict=True) if one.timed_out)
    moments: dict[str, dict[ConfigKey, Evaluation]] = {}
    for name, one in zip(names, evaluations, strict=True):
        moment = moments.setdefault(one.moment, {})
        if not one.timed_out or hung[name] >= TIME_OUTS:
            moment.pop(name, None)
            moment[name] = one
    return list(moments.values())


def _pace(newer: dict[ConfigKey, Evaluation], older: dict[ConfigKey, Evaluation]) -> float | None:
    """By what the seconds of `older` are multiplied; None where nothing links the two.

    Failures need no scale: a moment that holds nothing else is linked to every other.
    """
    timed = {name: one.seconds for name, one in older.items() if one.seconds is not None}
    if not timed or all(one.seconds is None for one in newer.values()):
        return 1.0
    return median_ratio(
        (seconds, timed[name])
        for name, one in newer.items()
        if name in timed and (seconds := one.seconds) is not None
    )


def _results(evaluations: Sequence[Evaluation]) -> tuple[Result, ...]:
    return tuple((one.config, one.seconds) for one in evaluations)


def _is_this(one: Evaluation, problem: Problem, source_hash: str) -> bool:
    return one.here and one.problem == problem and one.source_hash == source_hash


def _unlikeness(one: Evaluation, problem: Problem, source_hash: str) -> tuple[bool, bool, float]:
    """Sorts the most alike first."""
    there, here = one.problem.gemm(), problem.gemm()
    sizes = [(there.m, here.m), (there.k, here.k), (there.n, here.n), (there.count, here.count)]
    distance = sum(abs(log2(a / b)) for a, b in sizes)
    return (not one.here, one.source_hash != source_hash, distance)
