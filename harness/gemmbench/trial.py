"""What became of a contender, and the narrow door through which results leave the race."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from gemmbench.machine import Machine
from gemmbench.measurement import Measurement, Stages
from gemmbench.problem import Problem
from gemmbench.software import Software
from gemmbench.space import Config

Purpose = Literal["race", "tune", "share", "check"]  # "share": leads on another layer

FEWEST_EVALUATIONS = 5  # configs that passed, or the whole space: fewer are no search
TIMED_OUT = "timed out"  # how the reason of a contender begins that did not answer in time


class TrialState(StrEnum):
    """How a contender ended."""

    COMPLETE = "COMPLETE"
    WRONG = "WRONG"  # an error above the bound, or memory written that was not its own
    FAILED = "FAILED"  # raised, crashed, timed out or ran out of memory
    SKIPPED = "SKIPPED"  # unsupported or unavailable


@dataclass(frozen=True, slots=True)
class Environment:
    """The interpreter and the extra environment variables that a worker is started with."""

    python: str = ""  # "" is the interpreter that runs gemmbench
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of computing a problem: backend × algorithm × weights × config × environment."""

    backend: str  # the spec as the user names it, such as "blas:mkl" or "./k.py:MyGemm"
    algorithm: str
    weights: str = "plain"
    config: Config = field(default_factory=dict)
    environment: Environment = field(default_factory=Environment)
    tuned: bool = False  # the config was found by a search

    def label(self) -> str:
        """'numba im2col', with the weights when they are prepared."""
        prepared = " prepared" if self.weights == "prepared" else ""
        return f"{self.backend} {self.algorithm}{prepared}"


def readable(label: str) -> str:
    """A contender's label as people read it: 'fft' where backend and algorithm share the name."""
    backend, _, rest = label.partition(" ")
    return rest if rest.split(" ")[0] == backend else label


@dataclass(frozen=True, slots=True)
class RaceProtocol:
    """How was measured; stored with every result, and different protocols are never compared."""

    method: int = 1  # version of the measuring method; raised when it changes
    fill: str = "uniform"
    cache: str = "hot"
    cold_bytes: int = 0  # memory that calls rotate through; 0 when hot
    threads: int = 1
    processes: int = 3
    block_seconds: float = 0.002
    warmup_calls: int = 1
    stop: str = "precision-or-budget"
    alignment: int = 64
    seed: int = 0
    max_error: float | None = None  # largest `relative_error` that may win; None: any that is right
    forced: tuple[str, ...] = ()  # variables that force a library's kernel, as NAME=value
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """A contender's outcome on one layer, with every raw sample."""

    suite: str
    layer: str
    problem: Problem
    contender: Contender
    state: TrialState
    reason: str = ""
    purpose: Purpose = "race"
    threads: int = 1
    library: str = ""  # which library, version and kernel really ran
    source_hash: str = ""  # of the backend's source and its library
    max_error: float | None = None  # in units of `error_bound`, see reference.py
    error_bound: float | None = None
    relative_error: float | None = None  # max |error| over the rms of the answer
    rms_error: float | None = None  # rms of the error over that of the answer
    error_limit: float | None = None  # `relative_error` up to which it may win; None: any
    measurement: Measurement = field(default_factory=Measurement)
    stages: Stages = field(default_factory=dict)
    workspace_bytes: int | None = None
    own_flops: int | None = None  # operations the algorithm itself executes, where it says so
    peak_flops: float | None = (
        None  # FLOP/s of the roof, raced beside it; of a device, by its clock
    )
    peak_bytes: float | None = None  # bytes/s of reading as much memory, raced beside it
    call_bytes: int | None = None  # that one call takes above operands, output and workspace
    cold_ratio: float | None = None  # reading operands before a call, over again: 1 is not cold
    device: Mapping[str, Any] = field(default_factory=dict)  # how it was doing after the last block


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a search once measured: a config of some kernel on some problem."""

    problem: Problem
    config: Config
    seconds: float | None  # per call; None if it failed or was wrong
    source_hash: str
    machine: str  # its key
    here: bool  # on this machine, with as many threads and under a comparable protocol
    moment: str = ""  # what was measured in one go; the machine's pace may differ between two
    timed_out: bool = False  # it failed by not answering in time, as a busy machine may


class RunRecorder(Protocol):
    """Where results of any run go, and the winners of earlier ones."""

    def begin(
        self,
        command: str,
        machine: Machine,
        protocol: RaceProtocol,
        seed: int,
        software: Software | None = None,
    ) -> int:
        """The number of a new run. `command` is the command line that started it.

        Without `software` the run is comparable only with others that lack it too.
        """

    def record(self, run: int, trial: Trial) -> None:
        """Keep `trial` and its samples; committed when this returns."""

    def end(self, run: int, exit_code: int) -> None:
        """Note that the run is over."""

    def best_config(
        self,
        machine: Machine,
        protocol: RaceProtocol,
        problem: Problem,
        contender: Contender,
        source_hash: str,
    ) -> Config | None:
        """The stored winner for the same problem, machine, source, threads and protocol."""


class Recorder(RunRecorder, Protocol):
    """Where results go. The store implements it; the core knows nothing else of the store."""

    def evaluations(
        self, machine: Machine, protocol: RaceProtocol, contender: Contender
    ) -> list[Evaluation]:
        """What searches measured of the kernel that `contender` names, on anything, oldest first.

        They are kept by config, not by search space, so a changed space takes them over.
        """
