"""Measures the configs that a strategy proposes and names the best one it is sure of.

Every config is verified before it is timed. Most get three short blocks, plainly slow ones leave
after the first; the leading few then race: fresh blocks in turn until one is better or they are a
tie, because the lowest of many noisy samples is a lucky one. A config that is wrong, raises,
crashes or hangs is data. Results stored by an earlier search count as this one's, at today's pace.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from gemmbench.race import Entrant, Heat, Limits, Race
from gemmbench.ranking import too_inexact
from gemmbench.space import Config
from gemmbench.stats import judge
from gemmbench.trial import Contender, Trial, TrialState
from gemmbench.tune.strategy import Strategy

BLOCKS = 3  # short blocks for a config that is not plainly slow
SLOW_CONFIG = 1.3  # times the best so far: one block is enough to know
FEWEST = 5  # configs that passed, or the whole space: fewer make no winner worth storing
FINALISTS = 5  # of those, and the default
FINAL_ROUNDS = 5  # before the finalists are judged, and
MOST_ROUNDS = 30  # until they are given up as undecided, or after
FINAL_SHARE = 0.2  # of the search's seconds
HANG_SHARE = 0.25  # of the budget that one config may waste before it counts as hung
LEAST_HANG_SECONDS = 20.0  # the first config may have to compile the driver around the kernel
LEAST_PATIENCE = 5.0  # a later one starts a worker at most; each hang halves the wait, down to it

Result = tuple[Config, float | None]  # seconds per call; None if it failed or was wrong


@dataclass(slots=True)
class Tuner:
    """Searches the space behind `strategy`. `race` lends workers, cases, limits and the clock."""

    race: Race
    contender: Contender  # with the default config
    strategy: Strategy
    evaluations: int
    on_trial: Callable[[Trial], None]
    stored: Sequence[Result] = ()  # what earlier searches of the same kernel measured here
    target: float | None = None  # seconds per call that are fast enough
    results: list[Result] = field(default_factory=list)  # stored and measured
    measured: int = 0
    exhausted: bool = False  # every valid config was measured
    longest: float = 0.0  # seconds that a config which passed took, preparation included

    def run(self) -> Config | None:
        """The best config after re-measurement; None if too few passed to call it a search."""
        deadline = self.race.clock() + self.race.limits.seconds
        heat = Heat(self.race, 0, [], deadline, quick=True)
        try:
            if self.stored:
                self.resume(heat)
            while self.measured < self.evaluations and self.race.clock() < deadline:
                if self.target is not None and self.best() <= self.target:
                    break
                config = self.strategy.ask()
                if config is None:
                    self.exhausted = True
                    break
                self.evaluate(heat, config)
            return self.final(heat)
        finally:
            heat.close()

    def visit(self, configs: Sequence[Config]) -> None:
        """Measure these configs and no others, as long as the time lasts."""
        deadline = self.race.clock() + self.race.limits.seconds
        heat = Heat(self.race, 0, [], deadline, quick=True)
        try:
            for config in configs:
                if self.race.clock() < deadline:
                    self.evaluate(heat, config)
        finally:
            heat.close()

    def best(self) -> float:
        """Seconds of the fastest config so far; infinity before one passed."""
        return min((s for _, s in self.results if s is not None), default=np.inf)

    def resume(self, heat: Heat) -> None:
        """Take over the stored results, scaled by what the default costs now against then."""
        default = dict(self.contender.config)
        then = dict_of(self.stored).get(key(default))
        now = self.evaluate(heat, default)
        scale = now / then if now and then else 1.0
        for config, seconds in self.stored:
            if key(config) != key(default):
                scaled = None if seconds is None else scale * seconds
                self.strategy.tell(config, scaled)
                self.results.append((config, scaled))

    def evaluate(self, heat: Heat, config: Config) -> float | None:
        """Measure `config`, tell the strategy and whoever listens; its seconds if it passed."""
        entrant = self.measure(heat, config)
        seconds = self.pace(entrant)
        self.measured += 1
        self.results.append((config, seconds))
        self.strategy.tell(config, seconds)
        self.on_trial(replace(self.race.trial(entrant), purpose="tune"))
        return seconds

    def measure(self, heat: Heat, config: Config) -> Entrant:
        """Prepare, verify and time one config in the worker that `heat` keeps."""
        began = self.race.clock()
        entrant = Entrant(replace(self.contender, config=dict(config), tuned=True))
        index = heat.enter(entrant)
        heat.attempt(index, heat.make_ready)
        best = self.best()
        for round_ in range(BLOCKS):
            heat.attempt(index, partial(heat.time_block, round_))
            if entrant.state is not TrialState.COMPLETE:
                break
            if heat.last_call(entrant) > SLOW_CONFIG * best:
                break
        heat.leave(index)
        self.learn_patience(entrant, self.race.clock() - began)
        return entrant

    def learn_patience(self, entrant: Entrant, seconds: float) -> None:
        """After a config that hung, wait half as long for the next one."""
        limits = self.race.limits
        if entrant.state is TrialState.COMPLETE:
            self.longest = max(self.longest, seconds)
        elif entrant.state is TrialState.FAILED and seconds >= limits.timeout:
            least = max(LEAST_PATIENCE, 2 * self.longest)
            shorter = min(limits.timeout, max(least, limits.timeout / 2))
            self.race.limits = replace(limits, timeout=shorter)

    def final(self, heat: Heat) -> Config | None:
        """The winner among the leading few, measured again in turn with fresh samples."""
        right = [(seconds, config) for config, seconds in self.results if seconds is not None]
        if len(right) < FEWEST and not self.exhausted:
            return None
        right.sort(key=lambda result: result[0])
        leaders = [config for _, config in right[:FINALISTS]]
        default = dict(self.contender.config)  # it was measured first, in a worker just started
        if any(config == default for _, config in right[FINALISTS:]):
            leaders.append(default)
        finalists = [
            Entrant(replace(self.contender, config=dict(config), tuned=True)) for config in leaders
        ]
        self.race_finalists(heat, finalists)
        fresh = [e for e in finalists if self.pace(e) is not None]
        return min(fresh, key=lambda e: self.pace(e) or np.inf).contender.config if fresh else None

    def pace(self, entrant: Entrant) -> float | None:
        """Its seconds, if it passed, was timed and is as exact as was asked for."""
        return None if too_inexact(self.race.trial(entrant)) else seconds_of(entrant)

    def race_finalists(self, heat: Heat, finalists: Sequence[Entrant]) -> None:
        """Rounds until one finalist is better than all others, or those left are a tie."""
        indices = [heat.enter(entrant) for entrant in finalists]
        late = self.race.clock() + FINAL_SHARE * self.race.limits.seconds
        racing = list(range(len(finalists)))
        for round_ in range(MOST_ROUNDS):
            for at in self.race.rng.sample(racing, len(racing)):
                heat.attempt(indices[at], partial(heat.time_block, round_))
            if round_ + 1 >= FINAL_ROUNDS:
                verdict = judge([entrant.measurement() for entrant in finalists])
                if verdict.kind != "undecided" or self.race.clock() >= late:
                    return
                racing = list(verdict.leaders)


def tuning_limits(seconds: float, limits: Limits) -> Limits:
    """`limits` for a search of `seconds`, with a shorter wait for configs that hang."""
    patience = max(LEAST_HANG_SECONDS, HANG_SHARE * seconds)
    return replace(limits, seconds=seconds, timeout=min(limits.timeout, patience))


def seconds_of(entrant: Entrant) -> float | None:
    """Median seconds per call of an entrant that passed and was timed; else None."""
    calls = entrant.measurement().seconds_per_call()
    return float(np.median(calls)) if len(calls) else None


def key(config: Config) -> tuple[tuple[str, object], ...]:
    """Equal for equal configs, whatever the order of their axes."""
    return tuple(sorted(config.items()))


def dict_of(results: Sequence[Result]) -> dict[tuple[tuple[str, object], ...], float | None]:
    """Seconds by config; the last where one occurs twice."""
    return {key(config): seconds for config, seconds in results}
