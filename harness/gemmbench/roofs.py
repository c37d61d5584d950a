"""The machine's roofs as a run needs them: started once for each type, kept until it ends."""

from dataclasses import dataclass, field

from gemmbench.link import RequestError, WorkerLostError
from gemmbench.machine import Machine
from gemmbench.peak import Roof, stream_bytes
from gemmbench.problem import Problem
from gemmbench.run_outcome import Watcher
from gemmbench.trial import RaceProtocol


@dataclass(slots=True)
class Roofs:
    """The roofs under a protocol, each in a worker of its own."""

    protocol: RaceProtocol
    machine: Machine
    watcher: Watcher
    started: dict[str, Roof | None] = field(default_factory=dict)  # by dtype; None if it broke

    def flops(self, dtype: str) -> Roof | None:
        """The FMA roof for `dtype`; None if it cannot run."""
        if dtype not in self.started:
            self.watcher.step(f"measuring the {dtype} roof")
            try:
                roof = Roof.start("flops", dtype, self.machine, self.protocol.threads)
            except (RequestError, WorkerLostError):
                roof = None
            self.started[dtype] = roof
        return self.started[dtype]

    def memory(self, problem: Problem) -> Roof | None:
        """Reading as many bytes as `problem` has, from memory where operands are cold."""
        roof = self.flops(problem.dtype)
        if roof is None:
            return None
        cold = self.protocol.cache == "cold"
        whole = stream_bytes(self.machine)
        try:
            return roof.reading(whole if cold else min(problem.minimal_bytes(), whole))
        except (RequestError, WorkerLostError):
            return None

    def close(self) -> None:
        """End their workers."""
        for roof in self.started.values():
            if roof is not None:
                roof.close()
