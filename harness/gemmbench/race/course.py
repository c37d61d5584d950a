"""The course of a race: heats until the answer is known, and who goes on to the next one."""

from collections.abc import Sequence
from math import inf

from gemmbench.race.entrant import Entrant
from gemmbench.race.heat import Heat
from gemmbench.race.race import Race
from gemmbench.race.rounds import run_heat
from gemmbench.ranking import rank, too_inexact
from gemmbench.stats import summarize
from gemmbench.trial import Trial

LEADING_FACTOR = 1.5  # who is within this of the best goes on to the next heat
EXTRA_HEATS = 3  # at most, while the verdict is undecided and there is time
CONFIRMING_HEATS = 2  # of those, for a win so close that one lucky process could have made it
CLOSE_WIN = 0.05


def run_race(race: Race) -> list[Trial]:
    """One trial for each contender, in the order given; with settings, one for each of those.

    Interrupted, it reports what the finished heats gave and lets the interrupt pass.
    """
    entrants = race.entrants()
    told: set[int] = set()
    try:
        run_heats(race, entrants, told)
    except KeyboardInterrupt:
        for entrant in entrants:
            entrant.samples = [s for s in entrant.samples if s.process in entrant.verified]
        tell(race, [e for e in entrants if e.samples], told)
        raise
    tell(race, entrants, told)
    return [race.trial(entrant) for entrant in entrants]


def run_heats(race: Race, entrants: Sequence[Entrant], told: set[int]) -> None:
    """Heats until the answer is known or the budget is spent.

    `told`: the ids of those whose trials are reported, and final.
    """
    planned = race.spec.protocol.processes
    deadline = race.clock() + race.limits.seconds
    for heat in range(planned + EXTRA_HEATS if planned > 1 else 1):
        taking_part = list(entrants) if heat == 0 else leading(race, entrants)
        taking_part = [e for e in taking_part if id(e) not in told]
        if not taking_part or (heat and race.clock() >= deadline):
            return
        if heat >= planned and decided(race, entrants, heat - planned):
            return
        tell(race, [e for e in entrants if e not in taking_part], told)
        share = (deadline - race.clock()) / max(1, planned - heat)
        run_heat(Heat(race, heat, taking_part, race.clock() + share))


def tell(race: Race, entrants: Sequence[Entrant], told: set[int]) -> None:
    """Report the trials of `entrants` that were not reported before."""
    for entrant in entrants:
        if id(entrant) not in told:
            told.add(id(entrant))
            if race.on_trial is not None:
                race.on_trial(race.trial(entrant))


def leading(race: Race, entrants: Sequence[Entrant]) -> list[Entrant]:
    """Those worth another fresh process: near the best of their weights, or not yet beaten."""
    if race.settings:
        return [entrant for entrant in entrants if entrant.racing]
    trials = [race.trial(entrant) for entrant in entrants]
    open_still = {i for verdict in rank(trials) for i in verdict.leaders}
    pace = {i: summarize(t.measurement).median for i, t in enumerate(trials) if t.measurement}
    best: dict[str, float] = {}
    for i, seconds in pace.items():
        weights = trials[i].contender.weights
        if too_inexact(trials[i]):
            continue
        best[weights] = min(seconds, best.get(weights, seconds))
    return [
        entrant
        for i, entrant in enumerate(entrants)
        if entrant.racing
        and i in pace
        and (
            i in open_still or pace[i] <= LEADING_FACTOR * best.get(entrant.contender.weights, inf)
        )
    ]


def decided(race: Race, entrants: Sequence[Entrant], extra: int) -> bool:
    """Whether every kind of weights has a tie or a winner, a close one being confirmed.

    `extra`: how many heats there were beyond those planned.
    """
    if race.settings:
        return True
    for verdict in rank([race.trial(entrant) for entrant in entrants]):
        contested = verdict.kind == "winner" and verdict.margin is not None
        close = contested and (verdict.margin or 0) < CLOSE_WIN
        if verdict.kind == "undecided" or (close and extra < CONFIRMING_HEATS):
            return False
    return True
