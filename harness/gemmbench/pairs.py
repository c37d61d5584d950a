"""Process pairs: base and head, each in a fresh process, alternate in short slices.

It is a heat of a race with two entrants that are always kept apart, and other turns: a slice is a
few short blocks of calls, its statistic the fastest of them, since whatever interrupts a block
only makes it slower. The order of the two is random in every round, and so is which process is
started first; operands begin elsewhere in every pair, but alike on both sides of one. Sides with
one thread share a core, another one in every pair: on cores of their own, whatever else runs on
those is between them (on a loaded machine pairs then spread five times as far).
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil, inf, log

import numpy as np

from gemmbench.link import case_data
from gemmbench.measurement import Sample
from gemmbench.race import Entrant, Heat, Race
from gemmbench.trial import Contender, Trial, TrialState

PAIR_METHOD = 3  # version of this method, as RaceProtocol.method: 1 is the race's own
SLICE_SECONDS = 0.003  # of one side's turn
BLOCK_SECONDS = 0.0001  # a thousand times the cost of reading the clock
PAIR_SECONDS = 0.15  # of measuring in one process pair: longer ones differ about as much
WARM_SECONDS = 0.05  # of each side, before anything counts
WARM_BLOCKS = 3  # at least, unless they take as long as this
LONG_WARM_SECONDS = 0.5
LONG_CALL = 0.01  # a slice of longer calls is one of them,
SHORT_REPEATS = 3  # of shorter ones at least three, so that there is a fastest
FEWEST_ROUNDS = 3
OLD_PROTOCOL = 1  # its workers know no slices: each block is asked for on its own


@dataclass(frozen=True, slots=True)
class SliceSize:
    """One side's turn: `repeats` blocks of `calls` calls, the same on both sides."""

    calls: int
    repeats: int


def slice_size(seconds: float) -> SliceSize:
    """The turn for calls of that many seconds."""
    calls = max(1, ceil(BLOCK_SECONDS / max(seconds, 1e-9)))
    block = calls * seconds
    least = 1 if block >= LONG_CALL else SHORT_REPEATS
    return SliceSize(calls, max(least, ceil(SLICE_SECONDS / max(block, 1e-9))))


@dataclass(slots=True)
class Duel:
    """Base and head on one layer. `race` has them as its contenders; its time limit is not used.

    Ends with the side that is wrong or fails: `broken` is then true and no more pairs come.
    """

    race: Race
    may_go_on: Callable[[], bool] = lambda: True
    values: list[float] = field(default_factory=list)  # ln(head/base), one a process pair
    seconds: float = 0.0  # inside of slices, both sides together
    sides: tuple[Entrant, Entrant] = field(init=False)
    size: SliceSize | None = None

    def __post_init__(self) -> None:
        base, head = self.race.spec.contenders
        self.sides = (Entrant(base, "base"), Entrant(head, "head"))

    @property
    def broken(self) -> bool:
        """Whether a side is out of it."""
        return any(side.state is not TrialState.COMPLETE for side in self.sides)

    def take(self, pairs: int) -> list[float]:
        """The values of that many new pairs; fewer where a side breaks or the time is spent."""
        taken: list[float] = []
        while len(taken) < pairs and not self.broken and self.may_go_on():
            value = self.measure()
            if value is not None:
                taken.append(value)
                self.values.append(value)
        return taken

    def measure(self) -> float | None:
        """The value of one fresh pair; None if a side broke. Its samples are kept in any case."""
        order = self.race.rng.sample(self.sides, 2)
        self.race.layout = self.race.rng.randrange(2**31)
        pair = Pair(self, Heat(self.race, len(self.values), order, inf))
        value = pair.run()
        return None if self.broken else value

    def trials(self, base: Contender, head: Contender) -> tuple[Trial, Trial]:
        """Both sides as trials to be stored, under the contenders given."""
        first, second = (self.race.trial(side) for side in self.sides)
        return (
            replace(first, contender=base, purpose="check"),
            replace(second, contender=head, purpose="check"),
        )


class Pair:
    """One process pair of a duel."""

    def __init__(self, duel: Duel, heat: Heat) -> None:
        self.duel = duel
        self.heat = heat
        self.ratios: list[float] = []
        self.paces: dict[str, float] = {}  # seconds a call, by lane
        self.spent = 0.0

    def run(self) -> float | None:
        """Prepare and verify both, alternate slices, verify again on changed inputs."""
        try:
            for entrant in self.heat.entrants:
                self.heat.open(entrant)  # both start at once, on a core each
            for index in range(2):
                self.heat.attempt(index, self.describe)
            self.pin()  # before operands are allocated, so that they are near
            for index in range(2):
                self.heat.attempt(index, self.heat.make_ready)
            for index in range(2):
                self.heat.attempt(index, self.warm)
            self.alternate()
            for index in range(2):
                if not self.duel.broken:
                    self.heat.attempt(index, self.heat.finish)
        finally:
            self.heat.close()
        return float(np.median(self.ratios)) if self.ratios else None

    def describe(self, index: int) -> None:
        """Let a side import its backend, which takes long and needs no place yet."""
        self.heat.describe(self.heat.entrants[index])

    def pin(self) -> None:
        """Put sides with one thread on the same core."""
        if self.duel.race.spec.protocol.threads == 1:
            core = self.duel.race.rng.choice(sorted(os.sched_getaffinity(0)))
            for link in self.heat.links.values():
                link.pin(core)

    def alternate(self) -> None:
        """Rounds of one slice a side, until the pair's time is spent."""
        rounds = 0
        while not self.duel.broken and (rounds < FEWEST_ROUNDS or self.spent < PAIR_SECONDS):
            fastest: dict[str, float] = {}
            for index in self.duel.race.rng.sample(range(2), 2):
                self.heat.attempt(index, partial(self.turn, rounds, fastest))
            if len(fastest) == 2:
                self.ratios.append(log(fastest["head"] / fastest["base"]))
            rounds += 1
        self.duel.seconds += self.spent

    def turn(self, round_: int, fastest: dict[str, float], index: int) -> None:
        """One side's slice; its fastest block is the sample."""
        entrant, size = self.heat.entrants[index], self.size()
        blocks = self.blocks(index, size)
        self.spent += sum(blocks)
        best = fastest[entrant.lane] = min(blocks)
        entrant.samples.append(Sample(best, size.calls, self.heat.process, round_))

    def size(self) -> SliceSize:
        """The size of all slices: the faster side's, so that neither side's are too short."""
        if self.duel.size is None:
            if not self.paces:
                raise RuntimeError("a side is warmed before it is timed")
            self.duel.size = slice_size(min(self.paces.values()))
        return self.duel.size

    def blocks(self, index: int, size: SliceSize) -> list[float]:
        """Seconds of each block of a slice, after one untimed call."""
        entrant = self.heat.entrants[index]
        ask = partial(self.heat.ask, entrant, slot=index, case=case_data(self.heat.timed(entrant)))
        if any(link.protocol <= OLD_PROTOCOL for link in self.heat.links.values()):
            warmups = [1] + [0] * (size.repeats - 1)
            replies = [ask("time", loops=size.calls, warmup=warmup) for warmup in warmups]
            return [float(reply["seconds"]) for reply in replies]
        reply = ask("time_slice", calls=size.calls, repeats=size.repeats, warmup=1)
        return [float(seconds) for seconds in reply["seconds"]]

    def warm(self, index: int) -> None:
        """Call a side until it is warm, and keep its pace until the size of slices is known.

        Of its fastest block, as one that was interrupted would make slices too short.
        """
        entrant, spent, calls = self.heat.entrants[index], 0.0, 1
        paces: list[float] = []
        while spent < WARM_SECONDS or (len(paces) < WARM_BLOCKS and spent < LONG_WARM_SECONDS):
            reply = self.heat.ask(
                entrant,
                "time",
                slot=index,
                case=case_data(self.heat.timed(entrant)),
                loops=calls,
                warmup=0,
            )
            seconds = max(reply["seconds"], 1e-9)
            spent += seconds
            paces.append(seconds / calls)
            calls = max(calls, min(10 * calls, ceil(LONG_CALL / min(paces))))
        if self.duel.size is None:
            self.paces[entrant.lane] = min(paces)


def verified_alone(race: Race) -> Trial:
    """The race's only contender, verified as in a pair, before and after it was called in a block.

    For a head that has no base; what the block took is compared with nothing.
    """
    (contender,) = race.spec.contenders
    entrant = Entrant(contender)
    heat = Heat(race, 0, [entrant], inf)
    try:
        heat.attempt(0, partial(heat.time_block, 0))
        heat.attempt(0, heat.finish)
    finally:
        heat.close()
    return replace(race.trial(entrant), purpose="check")


def seeded(*parts: object) -> random.Random:
    """Random numbers that depend on all of `parts` and on nothing else."""
    return random.Random("/".join(map(str, parts)))
