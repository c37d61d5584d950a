"""Searches replayed on recorded spaces: how soon each strategy finds the optimum.

One evaluation is one config looked up; a recorded failure costs one and gives no time. Nothing is
measured but the time that a proposal takes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemmbench.recorded import RecordedSpace
from gemmbench.space import Config
from gemmbench.tune.evidence import Source
from gemmbench.tune.listing import Listing
from gemmbench.tune.strategies import make_strategy

MILESTONES = (20, 50, 100, 200)  # evaluations after which the best so far is reported
CLOSE = 0.95  # of the optimum's speed

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Trace:
    """One search: seconds of the configs in the order they were measured, NaN if they failed."""

    seconds: NDArray[np.float64]
    proposals: NDArray[np.float64]  # seconds that each proposal took

    def fractions(self, optimum: float, evaluations: int) -> NDArray[np.float64]:
        """optimum / best so far after each of `evaluations`; 0 until one succeeds.

        A search that ended early keeps its last.
        """
        best = np.fmin.accumulate(np.where(np.isnan(self.seconds), np.inf, self.seconds))
        found = optimum / best
        return np.pad(found, (0, max(0, evaluations - len(found))), mode="edge")[:evaluations]


@dataclass(frozen=True, slots=True)
class Score:
    """What a strategy reached on one space, averaged over seeds."""

    space: str
    strategy: str
    seeds: int
    at: dict[int, float]  # evaluations -> fraction of the optimum's speed
    mean_evaluations_to_95: float  # counted as the budget where it was not reached
    reached_95: float  # share of the searches
    ms_per_proposal: float
    slowest_proposal_ms: float


def replay(
    recorded: RecordedSpace,
    strategy: str,
    seed: int,
    evaluations: int,
    clock: Clock = time.perf_counter,
    sources: Sequence[Source] = (),
) -> Trace:
    """One search on `recorded`. It begins at a random config, since a recording has no default.

    `sources` are earlier searches on other recordings (`earlier_search`).
    """
    listing = Listing(recorded.space)
    start = int(np.random.default_rng(seed).integers(len(listing)))
    space = replace(recorded.space, default=listing.config(start))
    began = clock()
    search = make_strategy(strategy, space, seed, sources)
    setting_up = clock() - began
    seconds: list[float] = []
    proposals: list[float] = []
    while len(seconds) < evaluations:
        began = clock()
        config = search.ask()
        proposals.append(clock() - began)
        if config is None:
            break
        number = listing.number(config)
        if number is None:
            raise RuntimeError(f"{strategy} proposed {config}, which is not in {recorded.name}")
        found = float(recorded.seconds[number])
        seconds.append(found)
        search.tell(config, None if np.isnan(found) else found)
    proposals[0] += setting_up
    return Trace(np.array(seconds), np.array(proposals))


def earlier_search(recorded: RecordedSpace, strategy: str, seed: int, evaluations: int) -> Source:
    """What a search on `recorded` found, as a source for one on another space."""
    listing = Listing(recorded.space)
    results: list[tuple[Config, float | None]] = []
    start = int(np.random.default_rng(seed).integers(len(listing)))
    search = make_strategy(strategy, replace(recorded.space, default=listing.config(start)), seed)
    while len(results) < evaluations and (config := search.ask()) is not None:
        found = float(recorded.seconds[listing.number(config) or 0])
        results.append((config, None if np.isnan(found) else found))
        search.tell(*results[-1])
    return results


def score(
    recorded: RecordedSpace, strategy: str, traces: Sequence[Trace], evaluations: int
) -> Score:
    """The figures of several searches on one space."""
    fractions = np.array([t.fractions(recorded.optimum(), evaluations) for t in traces])
    close = fractions >= CLOSE
    reached = close.any(axis=1)
    first = np.where(reached, close.argmax(axis=1) + 1, evaluations)
    proposals = np.concatenate([trace.proposals for trace in traces])
    return Score(
        space=recorded.name,
        strategy=strategy,
        seeds=len(traces),
        at={n: float(fractions[:, n - 1].mean()) for n in MILESTONES if n <= evaluations},
        mean_evaluations_to_95=float(first.mean()),
        reached_95=float(reached.mean()),
        ms_per_proposal=1e3 * float(proposals.mean()),
        slowest_proposal_ms=1e3 * float(proposals.max()),
    )


def score_to_data(row: Score) -> dict[str, Any]:
    """`row` as JSON-able data; None at a milestone beyond the budget."""
    return {
        "space": row.space,
        "strategy": row.strategy,
        "seeds": row.seeds,
        "at": {str(n): row.at.get(n) for n in MILESTONES},
        "mean_evaluations_to_95": row.mean_evaluations_to_95,
        "reached_95": row.reached_95,
        "ms_per_proposal": row.ms_per_proposal,
        "slowest_proposal_ms": row.slowest_proposal_ms,
    }
