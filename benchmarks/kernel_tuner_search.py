"""What Kernel Tuner's own strategies reach on recorded spaces, by the figures of `replay`.

    python benchmarks/kernel_tuner_search.py SPACE... --strategy hybrid_vndx --seeds 20

Needs `pip install kernel-tuner` (1.5) beside gemmbench, in an environment of its own. The
strategies are unmodified and keep their default options; they run on Kernel Tuner's simulation
runner and cost function, with exactly the recorded configs as the search space. Every run builds a
new Searchspace: it remembers the neighbours it was asked for and proposes them again, so that one
shared between runs would leak what the earlier ones found. One evaluation is one config not
measured before.
"""

import argparse
import contextlib
import io
import json
import random
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from kernel_tuner import util
from kernel_tuner.interface import Options, strategy_map
from kernel_tuner.runners.simulation import SimulationRunner
from kernel_tuner.searchspace import Searchspace

from gemmbench.recorded import RecordedSpace, load_recorded
from gemmbench.replay import Trace, score, score_to_data

MILLISECONDS = 1e3  # Kernel Tuner's unit; some of its strategies have absolute thresholds
STRATEGIES = (
    "random_sample", "genetic_algorithm", "simulated_annealing", "pso",
    "hybrid_vndx", "adaptive_tabu_greywolf",
)  # fmt: skip


class Settable(Options):
    """Options that strategies may also set as attributes, as those of a real session."""

    def __setattr__(self, name: str, value: object) -> None:
        self[name] = value


class Simulation:
    """A recorded space as Kernel Tuner's cache."""

    def __init__(self, recorded: RecordedSpace) -> None:
        self.names = [axis.name for axis in recorded.space.axes]
        self.tune_params = {axis.name: list(axis.values) for axis in recorded.space.axes}
        self.cache: dict[str, dict[str, Any]] = {}
        for config, seconds in zip(recorded.space, recorded.seconds, strict=True):
            failed = util.RuntimeFailedConfig()
            error = {"time": failed, "__error__": failed}
            found = {"time": MILLISECONDS * seconds} if seconds == seconds else error
            self.cache[self.key(config)] = {**config, **found}

    def key(self, config: Any) -> str:
        return ",".join(str(config[name]) for name in self.names)

    def run(self, strategy: str, seed: int, evaluations: int) -> Trace:
        """One search with a search space, a budget and random states of its own."""
        configs = {key: {n: entry[n] for n in self.names} for key, entry in self.cache.items()}
        space = Searchspace(
            None, None, None, from_cache={"tune_params": dict(self.tune_params), "cache": configs}
        )
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  what Kernel Tuner draws from
        options = Settable(
            tune_params=self.tune_params, restrictions=None, objective=["time"],
            objective_higher_is_better=[False], metrics=None, cache=self.cache, cachefile=None,
            strategy_options=Options({"max_fevals": evaluations}), max_fevals=evaluations,
            verbose=False, simulated_time=0, seed=seed, observers=None, answer=None,
            budget=util.TuningBudget(None, evaluations),
        )  # fmt: skip
        runner = SimulationRunner(
            None, SimpleNamespace(kernel_name="recorded"), SimpleNamespace(quiet=True), 7, None
        )
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            results = strategy_map[strategy].tune(space, runner, options)
        spent = time.perf_counter() - began
        first = {self.key(result): result for result in reversed(results)}
        order = dict.fromkeys(self.key(result) for result in results)
        found = [first[key]["time"] for key in order if key in self.cache]
        seconds = [t / MILLISECONDS if isinstance(t, float) else np.nan for t in found]
        seconds = seconds[:evaluations]
        return Trace(np.array(seconds), np.full(len(seconds), spent / max(len(seconds), 1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("spaces", nargs="+", type=Path)
    parser.add_argument("--strategy", default=",".join(STRATEGIES))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--evaluations", type=int, default=200)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for path in arguments.spaces:
        recorded = load_recorded(path)
        simulation = Simulation(recorded)
        for strategy in arguments.strategy.split(","):
            traces = [
                simulation.run(strategy, seed, arguments.evaluations)
                for seed in range(arguments.seeds)
            ]
            row = score(recorded, f"kt.{strategy}", traces, arguments.evaluations)
            json.dump(score_to_data(row), sys.stdout)
            print(flush=True)


if __name__ == "__main__":
    main()
