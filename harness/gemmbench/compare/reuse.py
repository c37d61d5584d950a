"""Whether a stored race may stand for one that would be run now: of all on offer, unchanged."""

from collections.abc import Iterable, Mapping, Sequence, Set

from gemmbench.backend import PER_IMAGE
from gemmbench.machine import Machine
from gemmbench.offers import NoOfferError, describe
from gemmbench.problem import Conv2d
from gemmbench.race import Limits
from gemmbench.run_options import RunOptions
from gemmbench.space import Config
from gemmbench.trial import Environment, RaceProtocol, Trial, TrialState

OfferKey = tuple[str, str, str, str]  # backend, algorithm, weights, source hash
OfferKeys = frozenset[OfferKey]


def reusable(
    races: Iterable[tuple[int, Sequence[Trial]]],
    offered: OfferKeys,
    tuned: Mapping[OfferKey, Config] | None,
) -> tuple[int, list[Trial]] | None:
    """The newest comparable race that timed all that is offered now, as it would be timed now.

    Its run, its trials of what is offered, and what those backends declined; None if there is no
    such race. That machine and protocol match is whose `races` they are. `tuned`: the stored
    winners, which must have been in the race: they may be newer; None where defaults alone are to
    be raced.
    """
    for run, trials in races:
        own = [t for t in trials if _offer(t) in offered and _as_now(t, tuned is not None)]
        done = [t for t in own if t.state is TrialState.COMPLETE and t.measurement]
        raced = [(_offer(t), dict(t.contender.config)) for t in done]
        missing = [w for w in (tuned or {}).items() if (w[0], dict(w[1])) not in raced]
        if offered and {offer for offer, _ in raced} == offered and not missing:
            return run, own + _declined(trials, {backend for backend, *_ in offered})
    return None


def offered_now(
    options: RunOptions, protocol: RaceProtocol, machine: Machine, problem: Conv2d
) -> OfferKeys:
    """What the backends asked for offer for `problem` now, each asked in a process of its own."""
    found = set()
    limits = Limits(0, options.timeout, options.memory_bytes)
    for spec in options.specs():
        try:
            reply = describe(spec, problem, protocol.threads, machine, limits)
        except NoOfferError:
            continue
        for offer in reply["offers"]:
            if options.wants(offer["algorithm"], offer["weights"]):
                found.add((spec, offer["algorithm"], offer["weights"], reply["source_hash"]))
    return frozenset(found)


def _declined(trials: Sequence[Trial], backends: Set[str]) -> list[Trial]:
    """The algorithms that those backends declined."""
    skipped = [t for t in trials if t.state is TrialState.SKIPPED and t.contender.algorithm]
    return [t for t in skipped if t.contender.backend in backends]


def _offer(trial: Trial) -> OfferKey:
    one = trial.contender
    return one.backend, one.algorithm, one.weights, trial.source_hash


def _as_now(trial: Trial, may_be_tuned: bool) -> bool:
    """Whether compare would race that config: images lowered one by one, here, tuned if it may."""
    one = trial.contender
    alone = one.config.get("lowering", PER_IMAGE) == PER_IMAGE
    return alone and one.environment == Environment() and (may_be_tuned or not one.tuned)
