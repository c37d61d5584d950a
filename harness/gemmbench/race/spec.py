"""What a race is asked for: who races on what, under which settings, within which limits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from gemmbench.backend import Location
from gemmbench.machine import Machine
from gemmbench.problem import Problem
from gemmbench.reference import Cases
from gemmbench.trial import Contender, Environment, RaceProtocol

Clock = Callable[[], float]


class Yardstick(Protocol):
    """Something of known work that is timed in every round, such as the machine's roof."""

    def per_second(self) -> float:
        """Work per second of one timed block."""


class Talks(Protocol):
    """What a race needs of a worker; `link.Link` in earnest, a script in tests."""

    protocol: int

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The worker's reply. Raises RequestError or WorkerLostError."""

    def pin(self, core: int) -> None:
        """Keep it on one CPU."""

    def close(self) -> None:
        """End the worker."""


OpenLink = Callable[[Location, Environment], Talks]


@dataclass(frozen=True, slots=True)
class RaceSpec:
    """Who races on what, and how it is measured."""

    suite: str
    layer: str
    problem: Problem
    contenders: tuple[Contender, ...]
    protocol: RaceProtocol
    machine: Machine


@dataclass(frozen=True, slots=True)
class Setting:
    """Another fill or cache state under which every contender races, beside the others."""

    name: str
    cases: Cases
    protocol: RaceProtocol


@dataclass(frozen=True, slots=True)
class Limits:
    """What a race may spend."""

    seconds: float  # for all heats together; the first block of each contender is always taken
    timeout: float  # seconds one request may take
    memory_bytes: int = 0  # of a worker; 0 is no limit


def full_config(contender: Contender, threads: int) -> dict[str, Any]:
    """The config as a backend's `prepare` gets it; a search space may lower the threads."""
    choice = {"algorithm": contender.algorithm, "weights": contender.weights}
    return {"threads": threads, **contender.config, **choice}
