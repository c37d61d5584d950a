"""A block timed by a device's own clock, which host time bounds."""

import time
from typing import Any

import pytest

from gemmbench.errors import GemmbenchError
from gemmbench.timing import Slot, time_block


class Clock:
    """Remembers what was asked of it; tells `seconds`, whatever was run."""

    def __init__(self, seconds: float | None = None) -> None:
        self.log: list[str] = []
        self.seconds = seconds
        self.began = 0.0

    def start(self, launches: int) -> None:
        self.log.append(f"start {launches}")
        self.began = time.perf_counter()

    def stop(self) -> float:
        self.log.append("stop")
        return time.perf_counter() - self.began if self.seconds is None else self.seconds

    def flush(self) -> None:
        self.log.append("flush")


class Prepared:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def run(self) -> None:
        self.clock.log.append("run")

    def output(self) -> Any:
        raise AssertionError("not timed")


def block(clock: Clock, loops: int, *, cold: bool = False) -> float:
    copy: Any = type("Copy", (), {"prepared": Prepared(clock), "own_output": True})()
    return time_block(Slot("gemm", [copy], cold=cold), loops)


def test_warm_calls_are_queued_between_two_readings() -> None:
    clock = Clock()
    assert block(clock, 3) > 0
    assert clock.log == ["start 3", "run", "run", "run", "stop"]


def test_cold_each_call_follows_a_flush_that_is_not_timed() -> None:
    clock = Clock()
    block(clock, 2, cold=True)
    assert clock.log == ["flush", "start 1", "run", "stop"] * 2


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_a_clock_that_cannot_be_right_is_not_believed(seconds: float) -> None:
    with pytest.raises(GemmbenchError, match="device's clock"):
        block(Clock(seconds), 1)
