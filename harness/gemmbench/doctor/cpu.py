"""What the CPU and its hypervisor do with clock rates and cores, as /sys and /proc tell it."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gemmbench.doctor.finding import Finding, Level, online_cpus, parse_cpus, read, read_number

CPUS = Path("sys/devices/system/cpu")
CLOCKSOURCE = Path("sys/devices/system/clocksource/clocksource0/current_clocksource")
FAST_CLOCKS = ("tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page")


def cpu(root: Path) -> Iterator[Finding]:
    """Findings on clock rates, cores and the hypervisor."""
    yield _governor(root)
    yield from _turbo(root)
    yield from _throttling(root)
    yield from _siblings(root)
    yield from _hypervisor(root)
    yield from _clock(root)


def _governor(root: Path) -> Finding:
    paths = sorted((root / CPUS).glob("cpu[0-9]*/cpufreq/scaling_governor"))
    found = Counter(filter(None, map(read, paths)))
    why = "Other governors than 'performance' lower the clock between blocks of calls."
    if not found:
        return Finding("governor", Level.NOTE, "not visible here, as in most virtual machines", why)
    listed = ", ".join(f"{name} on {count} CPUs" for name, count in sorted(found.items()))
    if set(found) == {"performance"}:
        return Finding("governor", Level.OK, listed, why)
    remedy = "Run: sudo cpupower frequency-set --governor performance"
    return Finding("governor", Level.WARNING, listed, why, remedy)


def _turbo(root: Path) -> Iterator[Finding]:
    off = read_number(root / CPUS / "intel_pstate/no_turbo")
    boost = read_number(root / CPUS / "cpufreq/boost")
    if off is None and boost is None:
        return
    on = off == 0 if off is not None else boost == 1
    place = "intel_pstate/no_turbo" if off is not None else "cpufreq/boost"
    value = 1 if off is not None else 0
    yield Finding(
        "turbo",
        Level.NOTE if on else Level.OK,
        "on" if on else "off",
        "With turbo the clock follows temperature and the number of busy cores; contenders of one "
        "race share that, figures of two days do not.",
        f"For figures to publish: echo {value} | sudo tee /{CPUS}/{place}" if on else "",
    )


def _throttling(root: Path) -> Iterator[Finding]:
    paths = list((root / CPUS).glob("cpu[0-9]*/thermal_throttle/*_throttle_count"))
    counts = [count for count in map(read_number, paths) if count is not None]
    if not counts:
        return
    most = max(counts)
    yield Finding(
        "throttling",
        Level.WARNING if most else Level.OK,
        f"a core or package was slowed by heat up to {most} times since boot"
        if most
        else "none since boot",
        "A hot CPU lowers its clock in the middle of a race.",
        "Cool the machine, or use fewer --threads; see whether the count grows." if most else "",
    )


def _siblings(root: Path) -> Iterator[Finding]:
    cores = {
        tuple(parse_cpus(read(root / CPUS / f"cpu{n}/topology/thread_siblings_list"))) or (n,)
        for n in online_cpus(root)
    }
    shared = sum(len(core) > 1 for core in cores)
    why = "Two threads on one core share its vector units: a GEMM gains nothing from the second."
    if not shared:
        yield Finding("SMT siblings", Level.OK, f"none: {len(cores)} cores, one CPU each", why)
        return
    yield Finding(
        "SMT siblings",
        Level.NOTE,
        f"{shared} of {len(cores)} cores show as several CPUs",
        why,
        "gemmbench uses physical cores by default; keep --threads at or below their number, and "
        "other programs off the siblings.",
    )


def _hypervisor(root: Path) -> Iterator[Finding]:
    flags = re.search(r"^flags\s*:.*\bhypervisor\b", read(root / "proc/cpuinfo"), re.MULTILINE)
    kind = read(root / "sys/hypervisor/type")
    dmi = [read(root / "sys/class/dmi/id" / name) for name in ("sys_vendor", "product_name")]
    why = (
        "A hypervisor may hide caches, siblings and clock rates, and gives the host's other guests "
        "a share of cache and memory bandwidth."
    )
    if flags or kind:
        named = " ".join(filter(None, [kind, *dmi])) or "its kind is not told"
        remedy = "Compare only what was raced side by side; expect wide intervals."
        yield Finding("hypervisor", Level.NOTE, f"yes ({named})", why, remedy)
    else:
        yield Finding("hypervisor", Level.OK, "none seen", why)


def _clock(root: Path) -> Iterator[Finding]:
    source = read(root / CLOCKSOURCE)
    if not source:
        return
    fast = source in FAST_CLOCKS
    yield Finding(
        "clock source",
        Level.OK if fast else Level.WARNING,
        source,
        "Each timed block reads the clock twice; a slow source costs a system call each time.",
        "" if fast else "Boot with clocksource=tsc if the CPU's counter is stable.",
    )
