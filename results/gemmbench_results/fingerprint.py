"""What two runs must share for their times to be compared, and how they differ where they don't.

A fingerprint is a list of named facts: the machine as `Machine.key` sees it, the software, and
the parts of the protocol that timings depend on. It holds nothing that changes while the machine
stays the same (hostname, clock rates, bogomips, the amount of free memory).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from gemmbench.machine import Machine
from gemmbench.software import Software
from gemmbench.trial import RaceProtocol
from gemmbench_results.rows import COMPARABLE, canonical

UNKNOWN = "unknown"  # of a run that was stored before gemmbench kept its software
NONE = "none"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Facts by name, in an order for reading; equal if and only if times may be compared."""

    facts: tuple[tuple[str, str], ...]

    def key(self) -> str:
        """Twelve hex digits, equal if and only if the fingerprints are."""
        same = canonical(sorted(self.facts))
        return hashlib.sha256(same.encode()).hexdigest()[:12]

    def __getitem__(self, name: str) -> str:
        return dict(self.facts)[name]


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact that differs between two fingerprints; `NONE` where one of them lacks it."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name}: {self.before} → {self.after}"


def fingerprint(machine: Machine, software: Software | None, protocol: RaceProtocol) -> Fingerprint:
    """The fingerprint of a run; software that was not stored equals only other unknown software."""
    facts = {**_machine_facts(machine), **_software_facts(software), **_protocol_facts(protocol)}
    return Fingerprint(tuple(facts.items()))


def differences(before: Fingerprint, after: Fingerprint) -> list[Difference]:
    """Facts that differ, in the order of `before`, those that only `after` has last."""
    first, second = dict(before.facts), dict(after.facts)
    names = dict.fromkeys([*first, *second])
    pairs = [(name, first.get(name, NONE), second.get(name, NONE)) for name in names]
    return [Difference(*pair) for pair in pairs if pair[1] != pair[2]]


def _machine_facts(machine: Machine) -> Mapping[str, str]:
    return {
        "CPU": machine.cpu,
        "microarchitecture": machine.microarchitecture,
        "cores": str(machine.cores),
        "L1d": f"{machine.l1d_bytes // 1024} KiB",
        "L2": f"{machine.l2_bytes // 1024} KiB",
        "L3": f"{machine.l3_bytes // 1024} KiB",
        "system": machine.system,
    }


def _software_facts(software: Software | None) -> Mapping[str, str]:
    if software is None:
        return {"software": UNKNOWN}
    return {
        "BLAS": software.blas or NONE,
        "BLAS kernel": software.blas_kernel or NONE,
        **dict(software.packages),
        "GPU": ", ".join(software.gpus) or NONE,
        "GPU driver": software.gpu_driver or NONE,
    }


def _protocol_facts(protocol: RaceProtocol) -> Mapping[str, str]:
    values = {name.replace("_", " "): getattr(protocol, name) for name in COMPARABLE}
    return {
        name: " ".join(value) or NONE if isinstance(value, tuple) else str(value)
        for name, value in values.items()
    }
