"""The rounds of one heat, and the rules by which they end or a contender leaves them."""

from collections.abc import Sequence
from functools import partial
from math import inf

import numpy as np

from gemmbench.link import RequestError, WorkerLostError
from gemmbench.race.heat import Heat
from gemmbench.race.race import Race
from gemmbench.ranking import too_inexact
from gemmbench.stats import median_interval
from gemmbench.trial import TrialState

SLOW_FACTOR = 4.0  # a contender this many times slower than the best leaves early:
LONG_BLOCK = 0.25  # seconds; after one block if it is long, since no interruption lasts that long,
SECOND_ROUND = 1  # else after a second one, since a short block may have been interrupted,
SURE_SECONDS = 0.1  # and once all add up to this: threads of a new process may share a core for
# some ticks of the scheduler, and then even calls of a millisecond take several
MIN_ROUNDS = 6  # fewer blocks of one process have no 95 % interval of their median
MAX_ROUNDS = 40
PRECISION = 0.01  # half-width of the in-process interval at which more rounds teach nothing


def run_heat(heat: Heat) -> None:
    """Prepare and verify all, run rounds, verify again on changed inputs, end the workers."""
    try:
        for index in range(len(heat.entrants)):
            heat.attempt(index, heat.make_ready)
        run_rounds(heat)
        for index, entrant in enumerate(heat.entrants):
            if any(sample.process == heat.process for sample in entrant.samples):
                heat.attempt(index, heat.finish)
        if any(entrant.state is not TrialState.COMPLETE for entrant in heat.entrants):
            for entrant in heat.entrants:
                entrant.left = False  # it may have left because of somebody disqualified
    finally:
        heat.close()


def run_rounds(heat: Heat) -> None:
    """Rounds of one block for each that still races, until they teach nothing or it is late."""
    first = heat.race.clock()
    for round_ in range(MAX_ROUNDS):
        racing = [i for i, entrant in enumerate(heat.entrants) if entrant.racing]
        if not racing:
            return
        if round_ and (out_of_time(heat, round_, first) or settled(heat, racing)):
            return
        heat.race.rng.shuffle(racing)
        for index in racing:
            heat.attempt(index, partial(heat.time_block, round_))
        time_roofs(heat.race)
        drop_slow(heat, round_)


def time_roofs(race: Race) -> None:
    """One block of each roof; a race goes on without one that is lost."""
    if race.roof is not None:
        try:
            race.peaks.append(race.roof.per_second())
            if race.memory is not None:
                race.bandwidths.append(race.memory.per_second())
        except (RequestError, WorkerLostError):
            race.roof = None


def out_of_time(heat: Heat, rounds: int, first: float) -> bool:
    """Whether the deadline has passed and the rounds so far are worth their preparation.

    `first`: when the first of them began.
    """
    now = heat.race.clock()
    worth = rounds >= MIN_ROUNDS or now - first >= first - heat.started
    return now >= heat.deadline and worth


def drop_slow(heat: Heat, round_: int) -> None:
    """Contenders many times slower than the best of their weights leave with what they have."""
    if heat.race.settings:
        return
    racing = [e for e in heat.entrants if e.racing and e.samples]
    pace = [min(e.measurement().seconds_per_call(heat.process)) for e in racing]
    exact = [not too_inexact(heat.race.trial(e)) for e in racing]
    for entrant, seconds in zip(racing, pace, strict=True):
        kind = entrant.contender.weights
        best = min(
            (
                p
                for e, p, counts in zip(racing, pace, exact, strict=True)
                if counts and e.contender.weights == kind
            ),
            default=inf,
        )
        own = [s.seconds for s in entrant.samples if s.process == heat.process]
        often = round_ >= SECOND_ROUND and sum(own) >= SURE_SECONDS
        sure = often or own[-1] >= LONG_BLOCK
        entrant.left = sure and seconds > SLOW_FACTOR * best


def settled(heat: Heat, racing: Sequence[int]) -> bool:
    """Whether the median of everybody still racing is known within `PRECISION`."""
    for index in racing:
        calls = heat.entrants[index].measurement().seconds_per_call(heat.process)
        if len(calls) < MIN_ROUNDS:
            return False
        low, high = median_interval(calls)
        if high - low > 2 * PRECISION * float(np.median(calls)):
            return False
    return True
