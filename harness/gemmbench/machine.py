"""The machine that results belong to: what makes timings comparable, and nothing that drifts.

Hostname, clock rates and bogomips are left out on purpose: they change while the machine stays
the same, and one machine would become many.
"""

import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SYSFS_CPU = Path("/sys/devices/system/cpu")
CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class Machine:
    """CPU, caches and memory as this process may use them; a cache's size is one instance's."""

    cpu: str  # the model name the CPU reports
    microarchitecture: str  # archspec's name, such as "zen4"; virtual machines mask model names
    features: tuple[str, ...]
    cores: int  # physical cores this process may run on, cgroup quota included
    l1d_bytes: int
    l2_bytes: int
    l3_bytes: int
    memory_bytes: int
    system: str  # "Linux x86_64"

    def key(self) -> str:
        """Twelve hex digits, equal if and only if timings may be compared."""
        same = (self.cpu, self.microarchitecture, self.cores, self.l1d_bytes, self.l2_bytes,
                self.l3_bytes, self.system)  # fmt: skip
        return hashlib.sha256(json.dumps(same).encode()).hexdigest()[:12]

    def vector_bytes(self) -> int:
        """Width of the widest vector register that has fused multiply-add: 64, 32 or 16 bytes."""
        if "avx512f" in self.features:
            return 64
        return 32 if {"avx2", "fma"} <= set(self.features) else 16


def detect_machine() -> Machine:
    """This machine, from /proc, sysfs and archspec; unknown sizes are 0."""
    from archspec.cpu import host

    cpu = host()
    return Machine(
        cpu=_cpu_model(),
        microarchitecture=str(cpu.name),
        features=tuple(sorted(cpu.features)),
        cores=usable_cores(),
        l1d_bytes=_cache_bytes(1),
        l2_bytes=_cache_bytes(2),
        l3_bytes=_cache_bytes(3),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.machine()}",
    )


def usable_cores() -> int:
    """Physical cores within this process's affinity mask and cgroup quota, at least 1."""
    cpus = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    siblings = {_read(SYSFS_CPU / f"cpu{cpu}/topology/thread_siblings_list") or cpu for cpu in cpus}
    quota, _, period = _read(CGROUP_CPU_MAX).partition(" ")
    if quota.isdigit() and period.isdigit():
        return max(1, min(len(siblings), int(quota) // int(period)))
    return max(1, len(siblings))


def available_memory_bytes() -> int:
    """Bytes that can be allocated without swapping: MemAvailable, within the cgroup's limit."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit, used = (
        _read(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current")
    )
    if limit.isdigit() and used.isdigit():
        free = min(free, int(limit) - int(used))
    return max(free, 0)


def machine_to_data(machine: Machine) -> dict[str, Any]:
    """`machine` as JSON-able data, its key included."""
    return {**dataclasses.asdict(machine), "features": list(machine.features), "key": machine.key()}


def machine_from_data(data: Mapping[str, Any]) -> Machine:
    """The machine that `machine_to_data` wrote."""
    fields = {key: value for key, value in data.items() if key != "key"}
    return Machine(**{**fields, "features": tuple(fields["features"])})


def _cpu_model() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cache_bytes(level: int) -> int:
    for index in sorted(SYSFS_CPU.glob("cpu0/cache/index*")):
        if _read(index / "level") == str(level) and _read(index / "type") != "Instruction":
            size = _read(index / "size")
            scale = {"K": 1024, "M": 1024**2}.get(size[-1:], 1)
            return int(size.rstrip("KM") or 0) * scale
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
