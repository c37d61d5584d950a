"""A made-up run of three layers in which everything that a report must show happens once."""

from gemmbench.machine import Machine
from gemmbench.measurement import Measurement, Sample
from gemmbench.problem import Conv2d, Linear
from gemmbench.stats import Verdict
from gemmbench.trial import Contender, Environment, Trial, TrialState

CONV1 = Conv2d(10, 3, 227, 227, 96, (11, 11), stride=(4, 4))
CONV2 = Conv2d(10, 96, 27, 27, 256, (5, 5), pad=(2, 2), groups=2)
FC6 = Linear(10, 9216, 4096)
PEAK = 210e9  # FLOP/s
BANDWIDTH = 20e9  # bytes/s

MACHINE = Machine(
    cpu="Example CPU 3000",
    microarchitecture="zen4",
    features=("avx2", "avx512f", "fma"),
    cores=2,
    l1d_bytes=32 * 1024,
    l2_bytes=1024**2,
    l3_bytes=32 * 1024**2,
    memory_bytes=8 * 1024**3,
    system="Linux x86_64",
)


def measured(seconds: float, spread: float = 0.004, processes: int = 3) -> Measurement:
    """Two blocks of four calls a process, the processes `spread` apart."""
    return Measurement(
        tuple(
            Sample(4 * seconds * (1 + spread * (process - (processes - 1) / 2)), 4, process, number)
            for process in range(processes)
            for number in range(2)
        )
    )


def trial(layer, problem, contender, seconds=None, state=TrialState.COMPLETE, **fields) -> Trial:
    fields.setdefault("measurement", measured(seconds) if seconds else Measurement())
    fields.setdefault("max_error", 3.1e-6 if seconds else None)
    fields.setdefault("error_bound", 9.1e-6 if seconds else None)
    fields.setdefault("peak_flops", PEAK)
    fields.setdefault("peak_bytes", BANDWIDTH)
    return Trial("alexnet", layer, problem, contender, state, threads=2, **fields)


def blas(algorithm, **fields):
    return Contender("blas", algorithm, **fields)


def numba(algorithm, tuned=False, **fields):
    config = {"mr": 8, "nv": 3, "kc": 320} if tuned else {"mr": 6, "nv": 2, "kc": 256}
    return Contender("numba", algorithm, config=config, tuned=tuned, **fields)


def example_trials() -> list[Trial]:
    crashed = "the worker ended with signal 6 (abort) while it ran the third block of calls\nbye"
    return [
        trial("conv1", CONV1, blas("im2col"), 0.0187, stages={"im2col": 0.004, "multiply": 0.0147}),
        trial("conv1", CONV1, numba("im2col"), 0.0151, library="numba 0.66"),
        trial("conv1", CONV1, numba("im2col", True), 0.0123, library="numba 0.66"),
        trial("conv1", CONV1, Contender("fft", "fft"), 0.0052, workspace_bytes=12_345_678),
        trial(
            "conv1", CONV1, Contender("./k.py:Quick", "direct"), state=TrialState.WRONG,
            reason="the answer was remembered", max_error=float("inf"), error_bound=9.1e-6,
        ),
        trial("conv1", CONV1, numba("im2col", True), 1.0, purpose="tune"),
        trial("conv2", CONV2, blas("im2col"), 0.0331),
        trial("conv2", CONV2, numba("im2col"), 0.0328),
        trial("conv2", CONV2, numba("im2col", True), 0.0334),
        trial("conv2", CONV2, numba("im2col", True, weights="prepared"), 0.025),
        trial("conv2", CONV2, Contender("aborts", "direct"), state=TrialState.FAILED,
              reason=crashed),
        trial(
            "fc6", FC6, blas("gemm", environment=Environment("", (("OMP", "2"),))), 0.00513,
            measurement=measured(0.00513, processes=1),
        ),
        trial("fc6", FC6, numba("gemm"), 0.0048, own_flops=1_200_000_000),
        trial("fc6", FC6, Contender("fft", "fft"), state=TrialState.SKIPPED, reason="not a conv"),
    ]  # fmt: skip


def example_verdicts() -> dict[str, tuple[Verdict, ...]]:
    """One for each kind of weights; leaders count the race trials of their layer."""
    return {
        "conv1": (Verdict("winner", (3,), 0.86, 0.85, 0.87),),
        "conv2": (Verdict("tie", (1, 0, 2), 0.01, -0.01, 0.02), Verdict("winner", (3,))),
        "fc6": (Verdict("undecided", (1, 0), 0.06, -0.06, 0.2),),
    }
