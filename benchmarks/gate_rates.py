"""The error rates of `gemmbench check` on this machine, with both cores loaded: a Markdown table.

    python benchmarks/gate_rates.py                          # about 3 minutes
    python benchmarks/gate_rates.py --seconds 3600 --pool pool.json      # the more, the surer
    python benchmarks/gate_rates.py --seconds 0 --pool pool.json         # only the table

It starts a load on every core, measures process pairs of kernels with real extra work (a larger
k, more rows; slower_kernels.py) in random order, and plays the gate on them in two ways: in the
order they were measured, each pair used once, which is what so many checks would have said; and
on pairs drawn with replacement, which tells small rates from few pairs. Of identical code the two
sides may be exchanged, so there each pair is drawn both ways round. With --pool the pairs are
kept and those of earlier calls are used too.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from math import expm1, inf
from pathlib import Path

import numpy as np

from gemmbench.gate import (
    Suspects,
    Thresholds,
    confirm,
    confirmed,
    final_reading,
    first_level,
    flagged,
    judge,
    screen,
)
from gemmbench.machine import detect_machine
from gemmbench.pairs import PAIR_METHOD, Duel, seeded
from gemmbench.problem import Conv2d, Gemm
from gemmbench.race import Limits, Race, RaceSpec
from gemmbench.reference import Cases
from gemmbench.trial import Contender, RaceProtocol

KERNELS = Path(__file__).with_name("slower_kernels.py")
PROBLEMS = {
    "gemm": Gemm(256, 1152, 192),
    "stencil": Conv2d(1, 4, 102, 66, 8, (3, 3)),
}
ARMS = {  # (problem, head): weight, against Base
    ("gemm", "Base"): 3,
    ("stencil", "Base"): 3,
    ("gemm", "More2"): 2,
    ("gemm", "More5"): 2,
    ("stencil", "More5"): 2,
    ("gemm", "More10"): 1,
    ("stencil", "More10"): 1,
    ("stencil", "Shifted16"): 0.7,
    ("stencil", "Shifted32"): 0.7,
    ("stencil", "Shifted48"): 0.7,
}
QUICK_SECONDS = 170.0
PLAYS = 2000
SUITE_LAYERS = 10
LOAD = """
import numpy as np
a = np.random.rand(300, 300); b = np.zeros(4_000_000)
while True:
    for _ in range(20):
        a @ a
    b += 1.0
    sum(range(200_000))
"""


@contextmanager
def load(processes):
    """Programs that multiply, stream memory and run Python, one a core, until the end."""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    running = [subprocess.Popen([sys.executable, "-c", LOAD], env=env) for _ in range(processes)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def duel(problem, head, folder, machine, seed):
    base = "Shifted0" if head.startswith("Shifted") else "Base"
    contenders = tuple(
        Contender(f"{KERNELS}:{name}", "gemm" if problem == "gemm" else "conv")
        for name in (base, head)
    )
    protocol = RaceProtocol(threads=1)
    made = PROBLEMS[problem]
    spec = RaceSpec("rates", problem, made, contenders, protocol, machine)
    cases = Cases(made, folder, "uniform", 0)
    return Duel(Race(spec, cases, Limits(inf, 60.0), seeded(seed, problem, head)))


def measure(seconds, seed, only):
    """Pairs of every arm, interleaved at random: [problem, head, ln ratio, seconds measured]."""
    rng, machine, pairs = random.Random(seed), detect_machine(), []
    with ExitStack() as stack:
        folders = {
            name: Path(stack.enter_context(tempfile.TemporaryDirectory())) for name in PROBLEMS
        }
        arms = {arm: weight for arm, weight in ARMS.items() if fnmatchcase(arm[1], only)}
        duels = {arm: duel(*arm, folders[arm[0]], machine, seed) for arm in arms}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            arm = rng.choices(list(arms), list(arms.values()))[0]
            one, before = duels[arm], duels[arm].seconds
            (value,) = one.take(1) or [None]
            if value is None:
                raise SystemExit(f"{arm}: {[side.reason for side in one.sides]}")
            pairs.append([*arm, value, one.seconds - before])
    return pairs


def play(take, cases, thresholds):
    """The gate on one layer of a suite with `cases`: its screening, and verdict and reading."""
    level = first_level(cases)
    found = screen(take, level, thresholds)
    if flagged(found, level, thresholds):
        found = confirm(found, take, thresholds)
    return found, *decided(found, level, thresholds)


def decided(found, level, thresholds):
    reading = final_reading(found)
    slower = confirmed(found, thresholds)
    return judge(reading, thresholds, slower=slower, faster=found.p_faster <= level), reading


def play_suite(take, thresholds):
    """How many of ten layers of identical code are called slower, Holm's later steps included."""
    suspects, alarms = Suspects(SUITE_LAYERS), 0
    for layer in range(SUITE_LAYERS):
        found, verdict, _ = play(take, SUITE_LAYERS, thresholds)
        suspects.found[layer] = found
        alarms += verdict == "REGRESSED"
    for layer in suspects.late([thresholds] * SUITE_LAYERS):
        found = confirm(suspects.found[layer], take, thresholds)
        alarms += decided(found, suspects.level, thresholds)[0] == "REGRESSED"
    return alarms


def in_order(values, thresholds):
    """Verdicts and readings of as many checks as the pairs suffice for, each pair used once."""
    left, results = list(values), []
    while True:
        short = False

        def take(n):
            nonlocal short
            short = short or len(left) < n
            taken, left[:n] = left[:n], []
            return taken

        played = play(take, 1, thresholds)
        if short:
            return results  # the last check lacks pairs
        results.append(played[1:])


def drawn(values, rng):
    return lambda n: list(rng.choice(values, n))


def row(arm, values, a_pair, thresholds, rng):
    """What the gate says of one arm. `a_pair`: seconds measured in a pair."""
    limit = 10.0 if arm[1] == "More2" else 5.0
    truth = 0.0 if arm[1] == "Base" else float(np.mean(values))
    drawable = np.concatenate([values, -values]) if arm[1] == "Base" else values
    plays = [play(drawn(drawable, rng), 1, thresholds)[1:] for _ in range(PLAYS)]
    regressed = [(v == "REGRESSED", r.pairs * a_pair) for v, r in plays]
    ordered = in_order(values, thresholds)
    return (
        f"| {arm[0]}, {arm[1]} | {len(values)} | {100 * expm1(np.mean(values)):+.2f} % "
        f"| {100 * np.std(values, ddof=1):.2f} % "
        f"| {100 * np.mean([hit for hit, _ in regressed]):.2f} % "
        f"| {100 * np.mean([hit and s <= limit for hit, s in regressed]):.2f} % in {limit:g} s "
        f"| {100 * np.mean([r.low <= truth <= r.high for _, r in plays]):.1f} % "
        f"| {np.median([s for _, s in regressed]):.1f} "
        f"| {sum(v == 'REGRESSED' for v, _ in ordered)} of {len(ordered)} "
        f"| {sum(r.low <= truth <= r.high for _, r in ordered)} |"
    )


def table(pool, machine, loaded):
    thresholds, rng = Thresholds(), np.random.default_rng(0)
    arms = {}
    for problem, head, value, seconds in pool:
        arms.setdefault((problem, head), []).append((value, seconds))
    print(
        f"{machine.cpu}, {machine.cores} cores, {loaded}; {len(pool)} process pairs; "
        f"{time.strftime('%Y-%m-%d', time.gmtime())}.\n"
    )
    print(
        "| kernel, head | pairs | effect | sd of pairs | REGRESSED, resampled | in time | "
        "interval holds the effect | median s | in order: REGRESSED | holds |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for arm, found in sorted(arms.items()):
        values = np.array([value for value, _ in found])
        a_pair = float(np.mean([seconds for _, seconds in found]))
        if arm[1].startswith("Shifted") or len(values) < 5:
            continue
        print(row(arm, values, a_pair, thresholds, rng))
    identical = {
        arm: [s * v for v, _ in found for s in (1, -1)]
        for arm, found in arms.items()
        if arm[1] == "Base"
    }
    for arm, values in identical.items():
        if len(values) >= 5:
            alarms = [play_suite(drawn(values, rng), thresholds) > 0 for _ in range(PLAYS // 4)]
            print(
                f"\nSuites of {SUITE_LAYERS} identical {arm[0]} layers with any false alarm, "
                f"resampled: {100 * np.mean(alarms):.2f} %."
            )
    print_offsets(arms)


def print_offsets(arms):
    """What the same kernel reads where its process allocates elsewhere."""
    shifted = {arm[1]: found for arm, found in arms.items() if arm[1].startswith("Shifted")}
    if shifted:
        reads = [
            f"{name[7:]} bytes {100 * expm1(np.mean([v for v, _ in found])):+.2f} % "
            f"({len(found)} pairs)"
            for name, found in sorted(shifted.items())
        ]
        print(
            "\nThe same kernel, its process having allocated more before: against 0 bytes, "
            + ", ".join(reads)
            + "."
        )


def read_pool(path):
    """The pairs of earlier calls, if they were measured like today's."""
    kept = json.loads(path.read_text())
    method = kept["method"] if isinstance(kept, dict) else None
    if method != PAIR_METHOD:
        raise SystemExit(
            f"{path}: its pairs are of method {method}, today's of {PAIR_METHOD}; they cannot be "
            "taken together. Give another --pool."
        )
    return kept["pairs"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=QUICK_SECONDS, help="of measuring")
    parser.add_argument("--pool", type=Path, help="JSON file that keeps the pairs")
    parser.add_argument("--only", default="*", metavar="GLOB", help="heads, such as 'Shifted*'")
    parser.add_argument("--no-load", action="store_true", help="leave the cores alone")
    asked = parser.parse_args()
    pool = read_pool(asked.pool) if asked.pool and asked.pool.exists() else []
    machine = detect_machine()
    with load(0 if asked.no_load else os.cpu_count() or 1):
        pool += measure(asked.seconds, len(pool), asked.only)
    if asked.pool:
        asked.pool.write_text(json.dumps({"method": PAIR_METHOD, "pairs": pool}))
    table(pool, machine, "no load" if asked.no_load else "a load on each")


if __name__ == "__main__":
    main()
