"""Measures the configs that a strategy proposes and names the best one it is sure of.

Every config is verified before it is timed. Most get three short blocks, plainly slow ones leave
after the first; the leading few are measured again in turn with fresh blocks, because the lowest
of many noisy samples is a lucky one. A config that is wrong, raises, crashes or hangs is data.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from gemmbench.race import Entrant, Heat, Limits, Race
from gemmbench.space import Config
from gemmbench.trial import Contender, Trial, TrialState
from gemmbench.tune.strategy import Strategy

BLOCKS = 3  # short blocks for a config that is not plainly slow
SLOW_CONFIG = 1.3  # times the best so far: one block is enough to know
FEWEST = 5  # configs that passed, or the whole space: fewer make no winner worth storing
FINALISTS = 3
FINAL_ROUNDS = 5
HANG_SHARE = 0.25  # of the budget that one config may waste before it counts as hung
LEAST_HANG_SECONDS = 20.0  # the first config may have to compile the driver around the kernel


@dataclass(slots=True)
class Tuner:
    """Searches the space behind `strategy`. `race` lends workers, cases, limits and the clock."""

    race: Race
    contender: Contender
    strategy: Strategy
    evaluations: int
    on_trial: Callable[[Trial], None]
    measured: list[Entrant] = field(default_factory=list)
    exhausted: bool = False  # every valid config was measured

    def run(self) -> Config | None:
        """The best config after re-measurement; None if too few passed to call it a search."""
        deadline = self.race.clock() + self.race.limits.seconds
        heat = Heat(self.race, 0, [], deadline, quick=True)
        try:
            while len(self.measured) < self.evaluations and self.race.clock() < deadline:
                config = self.strategy.ask()
                if config is None:
                    self.exhausted = True
                    break
                entrant = self.measure(heat, config)
                self.strategy.tell(config, seconds_of(entrant))
                self.on_trial(replace(self.race.trial(entrant), purpose="tune"))
            return self.final(heat)
        finally:
            heat.close()

    def measure(self, heat: Heat, config: Config) -> Entrant:
        """Prepare, verify and time one config in the worker that `heat` keeps."""
        entrant = Entrant(replace(self.contender, config=dict(config), tuned=True))
        index = heat.enter(entrant)
        heat.attempt(index, heat.make_ready)
        best = min((s for s in map(seconds_of, self.measured) if s is not None), default=np.inf)
        for round_ in range(BLOCKS):
            heat.attempt(index, partial(heat.time_block, round_))
            if entrant.state is not TrialState.COMPLETE:
                break
            if heat.last_call(entrant) > SLOW_CONFIG * best:
                break
        self.measured.append(entrant)
        heat.leave(index)
        return entrant

    def final(self, heat: Heat) -> Config | None:
        """The winner among the leading few, measured again in turn with fresh samples."""
        right = [e for e in self.measured if seconds_of(e) is not None]
        if len(right) < FEWEST and not self.exhausted:
            return None
        leaders = sorted(right, key=lambda e: seconds_of(e) or np.inf)[:FINALISTS]
        finalists = [Entrant(entrant.contender) for entrant in leaders]
        indices = [heat.enter(entrant) for entrant in finalists]
        for round_ in range(FINAL_ROUNDS):
            for index in self.race.rng.sample(indices, len(indices)):
                heat.attempt(index, partial(heat.time_block, round_))
        fresh = [e for e in finalists if seconds_of(e) is not None]
        return min(fresh, key=lambda e: seconds_of(e) or np.inf).contender.config if fresh else None


def tuning_limits(seconds: float, limits: Limits) -> Limits:
    """`limits` for a search of `seconds`, with a shorter wait for configs that hang."""
    patience = max(LEAST_HANG_SECONDS, HANG_SHARE * seconds)
    return replace(limits, seconds=seconds, timeout=min(limits.timeout, patience))


def seconds_of(entrant: Entrant) -> float | None:
    """Median seconds per call of an entrant that passed and was timed; else None."""
    calls = entrant.measurement().seconds_per_call()
    return float(np.median(calls)) if len(calls) else None
