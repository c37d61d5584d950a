"""Raw timings and where they came from. Statistics are derived from them (`stats.py`)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed block: `seconds` for `loops` calls, in round `round` of process `process`."""

    seconds: float
    loops: int
    process: int = 0
    round: int = 0


@dataclass(frozen=True, slots=True)
class Measurement:
    """All timed blocks of one contender, in the order they were taken."""

    samples: tuple[Sample, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.samples)

    def __add__(self, other: "Measurement") -> "Measurement":
        return Measurement(self.samples + other.samples)

    def processes(self) -> list[int]:
        """Numbers of the fresh processes that were measured, ascending."""
        return sorted({sample.process for sample in self.samples})

    def seconds_per_call(self, process: int | None = None) -> NDArray[np.float64]:
        """Seconds a call of each block, of one process or of all."""
        return np.array(
            [s.seconds / s.loops for s in self.samples if process in (None, s.process)],
            dtype=np.float64,
        )


Stages = Mapping[str, float]  # stage name -> median seconds of one call's share
