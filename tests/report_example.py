"""A made-up database in which every chart of the report has something to draw."""

from collections.abc import Sequence
from dataclasses import replace

from gemmbench.problem import Conv2d
from gemmbench.software import Software
from gemmbench.trial import Contender, RaceProtocol, Trial, TrialState
from gemmbench_results.store import Store
from unit.example_trials import (
    CONV1,
    CONV2,
    FC6,
    MACHINE,
    blas,
    example_trials,
    numba,
    trial,
)

HOSTILE = "<script>alert(1)</script>"
PROTOCOL = RaceProtocol(threads=2, notes=("a note with <b>markup</b>",))
SOFTWARE = Software((("numpy", "2.4.6"),), "openblas 0.3.31", "Zen")
BANDWIDTH = 3e10  # bytes/s


def searched(layer: str, problem: Conv2d) -> list[Trial]:
    """Six configs, one of which failed, each better than the one before but the last."""
    times = (0.020, 0.018, None, 0.016, 0.0155, 0.017)
    return [
        trial(
            layer,
            problem,
            Contender("numba", "im2col", config={"mr": 2 + n % 3, "nv": 1 + n // 3, "kc": 256}),
            seconds,
            TrialState.COMPLETE if seconds else TrialState.FAILED,
            purpose="tune",
        )
        for n, seconds in enumerate(times)
    ]


def full_trials() -> list[Trial]:
    """The example run with roofs, a search, prepared weights, and a layer with a hostile name."""
    own = [one for one in example_trials() if one.purpose == "race"]
    own += [
        trial(HOSTILE, CONV2, blas("im2col"), 0.031),
        trial(HOSTILE, CONV2, Contender(f"./{HOSTILE}.py:K", "<b>direct"), 0.02,
              stages={"<i>first": 0.012, "second": 0.008}, library="<u>lib</u>"),
        trial("conv2", CONV2, Contender("fft", "fft", "prepared"), 0.045,
              stages={"input transform": 0.01, "multiply": 0.02, "output transform": 0.014}),
        trial("fc6", FC6, numba("gemm", weights="prepared"), 0.0041),
    ]  # fmt: skip
    with_roofs = [replace(one, peak_bytes=BANDWIDTH) for one in own]
    return [*with_roofs, *searched("conv1", CONV1)]


def fill(
    store: Store, trials: Sequence[Trial], runs: int = 1, command: str = "gemmbench run alexnet"
) -> None:
    """Store `trials` in each of `runs` runs, every run a little slower."""
    for number in range(runs):
        run = store.begin(command, MACHINE, PROTOCOL, 0, SOFTWARE)
        for one in trials:
            samples = tuple(
                replace(sample, seconds=sample.seconds * (1 + number / 100))
                for sample in one.measurement.samples
            )
            measurement = replace(one.measurement, samples=samples)
            store.record(run, replace(one, measurement=measurement))
        store.end(run, 0)
