"""What this process may use: CPU quota and memory of its control groups, and its CPUs.

Both versions of control groups are read. A limit may stand on any group above the process; the
tightest one counts. In a container the path of /proc/self/cgroup is often the host's, so the
root of the mount is looked at too.
"""

from collections.abc import Iterator
from pathlib import Path

from gemmbench.doctor.finding import Finding, Level, online_cpus, parse_cpus, read, read_number

CGROUPS = Path("sys/fs/cgroup")
UNLIMITED = 2**60  # bytes; version 1 writes a number near 2**63 where there is no limit
GIB = 2**30


def limits(root: Path) -> Iterator[Finding]:
    """Findings on quotas and limits."""
    yield _quota(root)
    yield from _throttled(root)
    yield _memory(root)
    yield from _affinity(root)


def cpu_quota(root: Path) -> float | None:
    """CPUs that the quota allows, the tightest of the groups'; None without one."""
    found = []
    for group in groups(root, "cpu"):
        quota, _, period = read(group / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            found.append(int(quota) / int(period))
        old = read_number(group / "cpu.cfs_quota_us")
        every = read_number(group / "cpu.cfs_period_us")
        if old is not None and old > 0 and every:
            found.append(old / every)
    return min(found, default=None)


def memory_limit(root: Path) -> int | None:
    """Bytes that the groups allow, the tightest; None without a limit."""
    found = [
        limit
        for group in groups(root, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        for limit in [read_number(group / name)]
        if limit is not None and limit < UNLIMITED
    ]
    return min(found, default=None)


def groups(root: Path, controller: str) -> list[Path]:
    """Folders of the control groups that hold this process, innermost first, for a controller."""
    mounts: list[tuple[Path, str]] = []
    for line in read(root / "proc/self/cgroup").splitlines():
        number, names, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not names:
            mounts.append((root / CGROUPS, path))
        elif controller in names.split(","):
            mounts += [(root / CGROUPS / name, path) for name in (names, controller)]
    found: dict[Path, None] = {}
    for mount, path in mounts:
        inner = mount / path.strip("/")
        found |= dict.fromkeys([inner, *(up for up in inner.parents if up.is_relative_to(mount))])
    return list(found)


def _quota(root: Path) -> Finding:
    quota, cpus = cpu_quota(root), len(online_cpus(root))
    why = (
        "A process over its quota is stopped for the rest of each period, often 100 ms: blocks of "
        "calls are interrupted at random."
    )
    if quota is None or quota >= cpus:
        return Finding("CPU quota", Level.OK, "none that limits this process", why)
    remedy = f"Raise the container's CPU limit, or use --threads {max(1, int(quota))}."
    return Finding("CPU quota", Level.WARNING, f"{quota:g} of {cpus} CPUs", why, remedy)


def _throttled(root: Path) -> Iterator[Finding]:
    times = 0
    for group in groups(root, "cpu"):
        fields = dict(
            line.split(maxsplit=1) for line in read(group / "cpu.stat").splitlines() if " " in line
        )
        times = max(times, int(fields.get("nr_throttled", 0)))
    if times:
        yield Finding(
            "quota throttling",
            Level.WARNING,
            f"the quota stopped this control group {times} times",
            "Whoever was being timed then reads slower than it is.",
            "Raise the container's CPU limit, or lower --threads.",
        )


def _memory(root: Path) -> Finding:
    limit = memory_limit(root)
    why = "A worker that exceeds the limit is killed, which costs its contender."
    total = next(
        (
            int(line.split()[1]) * 1024
            for line in read(root / "proc/meminfo").splitlines()
            if line.startswith("MemTotal:")
        ),
        UNLIMITED,
    )
    if limit is None or limit >= total:
        return Finding("memory limit", Level.OK, "none below the machine's memory", why)
    found = f"{limit / GIB:.1f} GiB of {total / GIB:.1f} GiB"
    remedy = "gemmbench stays below it; raise it where a layer is refused for want of memory."
    return Finding("memory limit", Level.NOTE, found, why, remedy)


def _affinity(root: Path) -> Iterator[Finding]:
    for line in read(root / "proc/self/status").splitlines():
        if line.startswith("Cpus_allowed_list:"):
            allowed = parse_cpus(line.partition(":")[2].strip())
            online = online_cpus(root)
            usable = len(set(allowed) & set(online))
            fewer = usable < len(online)
            yield Finding(
                "affinity",
                Level.NOTE if fewer else Level.OK,
                f"{usable} of {len(online)} CPUs may be used" if fewer else "all CPUs may be used",
                "Threads beyond the CPUs that may be used take turns on them.",
                "Start it without taskset or a cpuset if all CPUs are meant." if fewer else "",
            )
