"""How long a config of the Numba kernels takes to compile, once the driver is cached.

Prepares random configs of a suite's products, each with an empty kernel cache, and prints the
quantiles of the time in milliseconds: generating the IR, compiling and loading every kernel that
the config reaches. What it takes to prepare the config again, which is to allocate its buffers (up
to 150 MB of packed A), is taken off.

    python benchmarks/compile_time.py gemm_peers --configs 200 --threads 1
"""

import argparse
import os
import random
import tempfile
import time
from pathlib import Path

import numpy as np

from gemmbench.backend import Operands
from gemmbench.machine import detect_machine
from gemmbench.operands import aligned_empty
from gemmbench.problem import Gemm
from gemmbench.space import Config
from gemmbench.suite import load_suite
from gemmbench_backends.numba_cpu import NumbaCpu
from gemmbench_backends.numba_cpu import compile as compiling

LIMIT_MS = 50.0
PRODUCTS = ("tile_", "dot_", "row_")  # how the names of kernels begin that a config decides


def operands_of(problem: Gemm) -> Operands:
    """Operands of ones: what is in them does not matter here."""
    shapes = {
        "a": (problem.m, problem.k),
        "b": (problem.k, problem.n),
        "out": (problem.m, problem.n),
    }
    found = {name: aligned_empty(shape, problem.dtype) for name, shape in shapes.items()}
    for array in found.values():
        array.fill(1)
    return found


def compile_ms(backend: NumbaCpu, problem: Gemm, config: Config, operands: Operands) -> float:
    """Milliseconds that `config` takes longer with none of its kernels in memory or on disk.

    Those that every block shares are compiled once by a search, as the driver is.
    """

    def seconds() -> float:
        began = time.perf_counter()
        backend.prepare(problem, config, operands)
        return time.perf_counter() - began

    with tempfile.TemporaryDirectory(prefix="gemmbench-") as folder:
        os.environ["GEMMBENCH_CACHE"] = folder
        compiling._entry_folder.cache_clear()
        seconds()
        found = seconds()
        for name in [name for name in compiling._loaded if name.startswith(PRODUCTS)]:
            del compiling._loaded[name]
        for entry in Path(folder).rglob("*.o"):
            entry.unlink()
        return 1e3 * (seconds() - found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite", type=str)
    parser.add_argument("--configs", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng, backend, machine = random.Random(asked.seed), NumbaCpu(), detect_machine()
    layers = [layer for layer in load_suite(asked.suite).layers if isinstance(layer.problem, Gemm)]
    times, defaults = [], []
    for layer in layers:
        problem, choice = layer.problem, {"algorithm": "gemm", "weights": "plain"}
        space = backend.search_space(problem, machine, {**choice, "threads": asked.threads})
        operands = operands_of(problem)
        fixed = {**choice, "threads": asked.threads}
        backend.prepare(problem, {**space.default, **fixed}, operands)  # the driver is cached now
        defaults.append(compile_ms(backend, problem, {**space.default, **fixed}, operands))
        rows = space.rows()
        count = min(len(rows), -(-asked.configs // len(layers)))
        for row in rng.sample(range(len(rows)), count):
            config = space.config(rows[row])
            times.append(compile_ms(backend, problem, {**config, **fixed}, operands))
    print_quantiles("random configs", times)
    print_quantiles("default configs", defaults)


def print_quantiles(name: str, times: list[float]) -> None:
    """One line: how many, the quantiles, and the share under the limit."""
    low, middle, high = np.quantile(times, (0.1, 0.5, 0.9))
    share = np.mean(np.array(times) < LIMIT_MS)
    print(
        f"{name}: {len(times)}, median {middle:.0f} ms, 10 % {low:.0f}, 90 % {high:.0f}, "
        f"longest {max(times):.0f}; {100 * share:.0f} % under {LIMIT_MS:.0f} ms"
    )


if __name__ == "__main__":
    main()
