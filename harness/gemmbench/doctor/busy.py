"""Who else uses the CPUs: load, pressure, time stolen by other guests."""

import re
from collections.abc import Iterator
from pathlib import Path

from gemmbench.doctor.finding import Finding, Level, online_cpus, read

LOAD_A_CPU = 0.25  # above it, a round meets another program more often than not on two CPUs
PRESSURE = 5.0  # percent of the last minute in which something waited for a CPU
STOLEN = 0.005  # of all CPU time since boot; a quiet host stays far below
STEAL_FIELD = 8  # of a cpu line in /proc/stat, the name counted: proc(5)


def busy(root: Path) -> Iterator[Finding]:
    """Findings on other programs and other guests."""
    yield from _load(root)
    yield from _pressure(root)
    yield from _steal(root)


def _load(root: Path) -> Iterator[Finding]:
    words = read(root / "proc/loadavg").split()
    if not words:
        return
    cpus, load = len(online_cpus(root)), float(words[0])
    bad = load > LOAD_A_CPU * cpus
    yield Finding(
        "load",
        Level.WARNING if bad else Level.OK,
        f"{load:.2f} runnable programs on {cpus} CPUs, averaged over the last minute",
        "Whoever runs beside a kernel takes its core, its shared cache and its clock rate.",
        "Stop other programs ('top' lists them), or leave a core free with --threads."
        if bad
        else "",
    )


def _pressure(root: Path) -> Iterator[Finding]:
    found = re.search(r"some .*?avg60=([\d.]+)", read(root / "proc/pressure/cpu"))
    if not found:
        return
    share = float(found[1])
    bad = share > PRESSURE
    yield Finding(
        "CPU pressure",
        Level.WARNING if bad else Level.OK,
        f"in {share:g} % of the last minute something waited for a CPU",
        "A kernel whose thread waits for a CPU is timed with the wait.",
        "Stop other programs, or lower --threads." if bad else "",
    )


def _steal(root: Path) -> Iterator[Finding]:
    line = next((x for x in read(root / "proc/stat").splitlines() if x.startswith("cpu ")), "")
    fields = line.split()
    if len(fields) <= STEAL_FIELD:
        return
    # Guest time is counted in user and nice already, so the sum ends with steal.
    total = sum(int(field) for field in fields[1 : STEAL_FIELD + 1])
    share = int(fields[STEAL_FIELD]) / total if total else 0.0
    bad = share > STOLEN
    yield Finding(
        "steal",
        Level.WARNING if bad else Level.OK,
        f"{100 * share:.2f} % of the CPU time since boot went to other guests of the host",
        "The hypervisor ran somebody else while this machine believed that it was computing.",
        "Take a host of your own, or only trust figures that were raced side by side."
        if bad
        else "",
    )
