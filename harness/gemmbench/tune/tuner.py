"""Measures the configs that a strategy proposes and names the best one it is sure of.

Every config is verified before it is timed. Most get three short blocks, plainly slow ones leave
after the first; the leading few then race: fresh blocks in turn until one is better or they are a
tie, because the lowest of many noisy samples is a lucky one. A config that is wrong, raises,
crashes or hangs is data. Results stored by an earlier search count as this one's, at today's pace.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from gemmbench.race import Entrant, Heat, Limits, Race
from gemmbench.ranking import too_inexact
from gemmbench.space import Config, ConfigKey, config_key
from gemmbench.stats import judge
from gemmbench.trial import FEWEST_EVALUATIONS, Contender, Purpose, Trial, TrialState
from gemmbench.tune.evidence import Result
from gemmbench.tune.strategy import Strategy

BLOCKS = 3  # short blocks for a config that is not plainly slow
SLOW_CONFIG = 1.3  # times the best so far: one block is enough to know
FINALISTS = 5  # of those, and the default,
FEWEST_FINALISTS = 2  # or as many as can be prepared in the seconds set aside for them
FINAL_ROUNDS = 5  # before the finalists are judged, and
MOST_ROUNDS = 30  # until they are given up as undecided, or after what is left of the
FINAL_SHARE = 0.2  # of the search's seconds that is set aside for them
HANG_SHARE = 0.25  # of the budget that one config may waste before it counts as hung
LEAST_HANG_SECONDS = 20.0  # the first config may have to compile the driver around the kernel
LEAST_PATIENCE = 5.0  # a later one starts a worker at most; each hang halves the wait, down to it,
PATIENCE_EARNED = 0.25  # and each second of a config that passed lengthens it again by so much

Times = Mapping[ConfigKey, float | None]


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
    took: list[float] = field(default_factory=list)  # those seconds, of each
    purpose: Purpose = "tune"
    patience: float = field(init=False)  # seconds that a config may take at first

    def __post_init__(self) -> None:
        self.patience = self.race.limits.timeout

    def run(self) -> Config | None:
        """The best config after re-measurement; None if too few passed to call it a search.

        Re-measuring the leaders is within the seconds of the search, unless those are so few that
        it would leave none for a search.
        """
        deadline = self.race.clock() + self.race.limits.seconds
        heat = Heat(self.race, 0, [], deadline, quick=True)
        try:
            if self.stored:
                self.resume(heat)
            while self.measured < self.evaluations and self.goes_on(deadline):
                if self.target is not None and self.best() <= self.target:
                    break
                config = self.strategy.ask()
                if config is None:
                    self.exhausted = True
                    break
                self.evaluate(heat, config)
            return self.final(heat, deadline)
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

    def goes_on(self, deadline: float) -> bool:
        """Whether there is time for another config, and then for the finalists."""
        now = self.race.clock()
        if self.passed() < FEWEST_EVALUATIONS:
            return now < deadline
        typical = float(np.median(self.took)) if self.took else 0.0
        least = (FEWEST_FINALISTS + 1) * typical  # the default is one more
        aside = max(FINAL_SHARE * self.race.limits.seconds, least)
        return now + typical < deadline - aside

    def passed(self) -> int:
        """How many configs are known to be right, and how fast."""
        return sum(1 for _, seconds in self.results if seconds is not None)

    def best(self) -> float:
        """Seconds of the fastest config so far; infinity before one passed."""
        return min((s for _, s in self.results if s is not None), default=np.inf)

    def resume(self, heat: Heat) -> None:
        """Take over the stored results, scaled by what the default costs now against then.

        Where the default was not timed then, or fails now, the fastest of them is measured too;
        if that fails as well, their times say nothing about today.
        """
        default = dict(self.contender.config)
        then = {config_key(config): seconds for config, seconds in self.stored}
        now = {config_key(default): self.evaluate(heat, default)}
        scale = ratio(now, then)
        timed = [(seconds, config) for config, seconds in self.stored if seconds is not None]
        if scale is None and timed:
            fastest = min(timed, key=lambda result: result[0])[1]
            now[config_key(fastest)] = self.evaluate(heat, fastest)
            scale = ratio(now, then)
        for config, seconds in self.stored:
            if config_key(config) in now or (scale is None and seconds is not None):
                continue
            scaled = None if seconds is None or scale is None else scale * seconds
            self.strategy.tell(config, scaled)
            self.results.append((config, scaled))

    def evaluate(self, heat: Heat, config: Config) -> float | None:
        """Measure `config`, tell the strategy and whoever listens; its seconds if it passed."""
        entrant = self.measure(heat, config)
        seconds = self.pace(entrant)
        self.measured += 1
        self.results.append((config, seconds))
        self.strategy.tell(config, seconds)
        self.on_trial(replace(self.race.trial(entrant), purpose=self.purpose))
        return seconds

    def measure(self, heat: Heat, config: Config) -> Entrant:
        """Prepare, verify and time one config in the worker that `heat` keeps."""
        began = self.race.clock()
        entrant = Entrant(self.with_config(config))
        index = heat.enter(entrant)
        heat.attempt(index, heat.make_ready)
        best = self.best()
        for round_ in range(BLOCKS):
            heat.attempt(index, partial(heat.time_block, round_))
            if entrant.state is not TrialState.COMPLETE:
                break
            if entrant.last_call() > SLOW_CONFIG * best:
                break
        heat.leave(index)
        self.learn_patience(entrant, self.race.clock() - began)
        return entrant

    def learn_patience(self, entrant: Entrant, seconds: float) -> None:
        """After a config that hung, wait half as long for the next one, until others have passed.

        Waits above the least one thus add up to twice the first and half of what passed took.
        """
        wait = self.race.limits.timeout
        if entrant.state is TrialState.COMPLETE:
            self.longest = max(self.longest, seconds)
            self.took.append(seconds)
            wait = min(self.patience, wait + PATIENCE_EARNED * seconds)
        elif entrant.state is TrialState.FAILED and seconds >= wait:
            least = max(LEAST_PATIENCE, 2 * self.longest)
            wait = min(wait, max(least, wait / 2))
        self.race.limits = replace(self.race.limits, timeout=wait)

    def with_config(self, config: Config) -> Contender:
        """The contender with `config`, which is tuned unless it is the default."""
        found = dict(config)
        return replace(self.contender, config=found, tuned=found != dict(self.contender.config))

    def final(self, heat: Heat, deadline: float) -> Config | None:
        """The winner among the leading few, measured again in turn with fresh samples."""
        right = [(seconds, config) for config, seconds in self.results if seconds is not None]
        if len(right) < FEWEST_EVALUATIONS and not self.exhausted:
            return None
        right.sort(key=lambda result: result[0])
        leaders = [config for _, config in right[: self.finalists()]]
        default = dict(self.contender.config)  # it was measured first, in a worker just started
        if any(config == default for _, config in right[len(leaders) :]):
            leaders.append(default)
        finalists = [Entrant(self.with_config(config)) for config in leaders]
        self.race_finalists(heat, finalists, deadline)
        fresh = [e for e in finalists if self.pace(e) is not None]
        return min(fresh, key=lambda e: self.pace(e) or np.inf).contender.config if fresh else None

    def finalists(self) -> int:
        """How many leaders are measured again: fewer where each takes long to prepare and time."""
        typical = float(np.median(self.took)) if self.took else 0.0
        affordable = FINAL_SHARE * self.race.limits.seconds / typical if typical else FINALISTS
        return max(FEWEST_FINALISTS, min(FINALISTS, int(affordable)))

    def pace(self, entrant: Entrant) -> float | None:
        """Its seconds, if it passed, was timed and is as exact as was asked for."""
        return None if too_inexact(self.race.trial(entrant)) else seconds_of(entrant)

    def race_finalists(self, heat: Heat, finalists: Sequence[Entrant], late: float) -> None:
        """Rounds until one finalist is better than all others, those left are a tie, or it is late.

        As many rounds as a config had in the search there are always.
        """
        indices = [heat.enter(entrant) for entrant in finalists]
        racing = list(range(len(finalists)))
        for round_ in range(MOST_ROUNDS):
            for at in self.race.rng.sample(racing, len(racing)):
                heat.attempt(indices[at], partial(heat.time_block, round_))
            if round_ + 1 >= BLOCKS and self.race.clock() >= late:
                return
            if round_ + 1 >= FINAL_ROUNDS:
                verdict = judge([entrant.measurement() for entrant in finalists])
                if verdict.kind != "undecided":
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


def ratio(now: Times, then: Times) -> float | None:
    """What the first config timed both now and then costs now against then; None without one."""
    for name, seconds in now.items():
        before = then.get(name)
        if seconds is not None and before is not None:
            return seconds / before
    return None
