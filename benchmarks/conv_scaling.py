"""How much faster convolutions are on several threads than on one, in turn in one process.

    python benchmarks/conv_scaling.py benchmarks/convolutions.yaml --batch 1 10 > table.md

For every layer of `--least-mflop` and more: the seconds of each algorithm's default config on one
thread over those of its default on `--threads`, medians of `--rounds` rounds in shuffled order.
Ideal is the number of threads. Below each batch: geometric means, and the worst layer's.
"""

import argparse
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from gemmbench.machine import detect_machine
from gemmbench.operands import aligned_empty
from gemmbench.problem import Conv2d
from gemmbench.suite import load_suite, select_layers
from gemmbench_backends.numba_cpu import NumbaCpu

Run = Callable[[], object]
LEAST_SECONDS = 0.004  # of one timing: shorter calls are repeated


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suite")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--algorithms", default="direct,winograd,fft,depthwise")
    parser.add_argument("--weights", choices=("prepared", "plain"), default="prepared")
    parser.add_argument("--least-mflop", type=float, default=100.0)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only")
    given = parser.parse_args()
    suite = load_suite(given.suite)
    suite = select_layers(suite, [given.only]) if given.only else suite
    names = given.algorithms.split(",")
    print(f"{detect_machine().cpu}, {given.threads} threads over 1, {given.weights} weights\n")
    print(f"| layer | batch | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}")
    for batch in given.batch:
        gains: dict[str, list[float]] = {name: [] for name in names}
        for layer in suite.layers:
            if not isinstance(layer.problem, Conv2d):
                continue
            problem = replace(layer.problem, batch=batch)
            if problem.flops() < given.least_mflop * 1e6:
                continue
            row = gains_of(problem, names, given.weights, given.threads, given.rounds)
            cells = (f"{row[name]:.2f}" if name in row else "–" for name in names)
            print(f"| {layer.name} | {batch} | {' | '.join(cells)} |", flush=True)
            for name, gain in row.items():
                gains[name].append(gain)
        print(f"| geometric mean (worst) | {batch} | {' | '.join(map(summary, gains.values()))} |")
    return 0


def summary(gains: Sequence[float]) -> str:
    """Geometric mean and worst of some ratios."""
    if not gains:
        return "–"
    return f"{math.exp(statistics.fmean(map(math.log, gains))):.2f} ({min(gains):.2f})"


def gains_of(
    problem: Conv2d, names: Sequence[str], weights: str, threads: int, rounds: int
) -> dict[str, float]:
    """Seconds on one thread over seconds on `threads`, by algorithm, of those that apply."""
    offered = NumbaCpu().algorithms(problem)
    used = [name for name in names if weights in offered.get(name, ())]
    operands = make_operands(problem)
    runs = {
        (name, count): prepared(problem, name, weights, count, operands)
        for name in used for count in (1, threads)
    }  # fmt: skip
    seconds = medians(runs, rounds)
    return {name: seconds[name, 1] / seconds[name, threads] for name in used}


def make_operands(problem: Conv2d) -> dict[str, np.ndarray]:
    """Seeded operands; every contender writes to an output of its own."""
    rng = np.random.default_rng(0)
    images = (problem.batch, problem.channels, problem.height, problem.width)
    filters = (problem.filters, problem.channels // problem.groups, *problem.kernel)
    operands = {}
    for name, shape in (("x", images), ("w", filters)):
        operands[name] = aligned_empty(shape, problem.dtype)
        operands[name][...] = rng.uniform(-1.0, 1.0, shape)
    return operands


def prepared(
    problem: Conv2d, algorithm: str, weights: str, threads: int, operands: dict[str, np.ndarray]
) -> Run:
    """The default config of an algorithm, ready to run."""
    backend = NumbaCpu()
    choice = {"algorithm": algorithm, "weights": weights, "threads": threads}
    space = backend.search_space(problem, detect_machine(), choice)
    config = dict(space.default if space else {}) | choice
    out = aligned_empty((problem.batch, problem.filters, *problem.output_size()), problem.dtype)
    out.fill(0)
    return backend.prepare(problem, config, {**operands, "out": out}).run


def medians(runs: dict[tuple[str, int], Run], rounds: int) -> dict[tuple[str, int], float]:
    """Median seconds of a call of each, timed in turn, in an order that changes."""
    loops, samples = {}, {key: [] for key in runs}
    for key, run in runs.items():
        run()
        loops[key] = max(1, int(LEAST_SECONDS / timed(run, 1)))
    for _ in range(rounds):
        order = list(runs)
        random.shuffle(order)
        for key in order:
            runs[key]()
            samples[key].append(timed(runs[key], loops[key]))
    return {key: statistics.median(times) for key, times in samples.items()}


def timed(run: Run, loops: int) -> float:
    """Seconds of a call, of `loops` one after the other."""
    began = time.perf_counter()
    for _ in range(loops):
        run()
    return (time.perf_counter() - began) / loops


if __name__ == "__main__":
    raise SystemExit(main())
