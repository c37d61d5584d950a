"""The doctor reads made-up /proc and /sys trees and says what disturbs."""

from pathlib import Path

import pytest

from gemmbench.doctor import Level, examine
from gemmbench.doctor.environment import forced_kernels
from gemmbench.doctor.finding import parse_cpus
from gemmbench.doctor.limits import cpu_quota, memory_limit

CPU = "sys/devices/system/cpu"
QUIET = {
    "proc/loadavg": "0.10 0.10 0.10 1/100 4242",
    "proc/pressure/cpu": "some avg10=0.00 avg60=0.20 avg300=0.10 total=5",
    "proc/stat": "cpu  1000 0 500 98000 100 0 10 0 0 0\ncpu0 1 2 3",
    "proc/cpuinfo": "flags\t\t: fpu avx2 fma",
    "proc/meminfo": "MemTotal:       16777216 kB\nMemAvailable: 1 kB",
    "proc/self/cgroup": "0::/",
    "proc/self/status": "Name:\tx\nCpus_allowed_list:\t0-3\n",
    "sys/fs/cgroup/cpu.max": "max 100000",
    f"{CPU}/online": "0-3",
    **{f"{CPU}/cpu{n}/cpufreq/scaling_governor": "performance" for n in range(4)},
    **{f"{CPU}/cpu{n}/topology/thread_siblings_list": str(n) for n in range(4)},
    f"{CPU}/intel_pstate/no_turbo": "1",
    f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "0",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
}
EVERYTHING = lambda module: True  # noqa: E731


def tree(folder: Path, **files: str) -> Path:
    """A quiet machine with some files replaced; names may have slashes, '' removes one."""
    for name, text in {**QUIET, **files}.items():
        if text:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
    return folder


def found(root: Path, name: str, variables=None, installed=EVERYTHING):
    findings = examine(root, variables or {}, installed)
    return next((one for one in findings if one.name == name), None)


def test_a_quiet_machine_has_nothing_to_mend(tmp_path: Path) -> None:
    findings = examine(tree(tmp_path), {}, EVERYTHING)
    assert {one.level for one in findings} == {Level.OK}
    assert len(findings) >= 14


def test_an_empty_root_is_examined_without_an_error(tmp_path: Path) -> None:
    assert all(one.why for one in examine(tmp_path, {}, lambda module: False))


@pytest.mark.parametrize(
    ("name", "files", "level", "text"),
    [
        ("load", {"proc/loadavg": "3.20 1 1 1/9 9"}, "warning", "3.20 runnable programs on 4 CPUs"),
        ("CPU pressure", {"proc/pressure/cpu": "some avg10=1 avg60=12.50 avg300=1 total=1"},
         "warning", "in 12.5 % of the last minute"),
        ("steal", {"proc/stat": "cpu 900 0 0 0 0 0 0 100 50 0"}, "warning", "10.00 %"),
        ("governor", {f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave"}, "warning",
         "performance on 3 CPUs, powersave on 1 CPUs"),
        ("governor", {f"{CPU}/cpu{n}/cpufreq/scaling_governor": "" for n in range(4)}, "note",
         "not visible"),
        ("turbo", {f"{CPU}/intel_pstate/no_turbo": "0"}, "note", "on"),
        ("turbo", {f"{CPU}/intel_pstate/no_turbo": "", f"{CPU}/cpufreq/boost": "1"}, "note", "on"),
        ("throttling", {f"{CPU}/cpu0/thermal_throttle/package_throttle_count": "7"}, "warning",
         "up to 7 times"),
        ("SMT siblings", {f"{CPU}/cpu{n}/topology/thread_siblings_list": f"{n % 2},{n % 2 + 2}"
                          for n in range(4)}, "note", "2 of 2 cores show as several CPUs"),
        ("hypervisor", {"proc/cpuinfo": "flags : fpu hypervisor avx2",
                        "sys/class/dmi/id/sys_vendor": "QEMU"}, "note", "yes (QEMU)"),
        ("clock source", {"sys/devices/system/clocksource/clocksource0/current_clocksource":
                          "hpet"}, "warning", "hpet"),
        ("CPU quota", {"sys/fs/cgroup/cpu.max": "150000 100000"}, "warning", "1.5 of 4 CPUs"),
        ("quota throttling", {"sys/fs/cgroup/cpu.stat": "usage_usec 5\nnr_throttled 12"}, "warning",
         "12 times"),
        ("memory limit", {"sys/fs/cgroup/memory.max": str(2**30)}, "note", "1.0 GiB of 16.0 GiB"),
        ("affinity", {"proc/self/status": "Cpus_allowed_list:\t1,3"}, "note", "2 of 4 CPUs"),
        ("huge pages", {"sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]"},
         "note", "never"),
    ],
)  # fmt: skip
def test_what_disturbs_is_found_with_a_remedy(tmp_path, name, files, level, text):
    one = found(tree(tmp_path, **files), name)
    assert one is not None
    assert (str(one.level), text in one.found) == (level, True), one
    assert one.remedy or "not visible" in one.found


def test_variables_that_force_kernels_are_named_with_who_reads_them(tmp_path):
    variables = {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "AVX512F", "HOME": "/"}
    one = found(tree(tmp_path), "forced kernels", variables)
    assert one.level is Level.WARNING
    assert one.found == (
        "OPENBLAS_CORETYPE=Haswell, NPY_DISABLE_CPU_FEATURES=AVX512F (read by OpenBLAS, NumPy)"
    )
    assert one.remedy == "Run: unset OPENBLAS_CORETYPE NPY_DISABLE_CPU_FEATURES"
    assert forced_kernels(variables) == (
        "OPENBLAS_CORETYPE=Haswell",
        "NPY_DISABLE_CPU_FEATURES=AVX512F",
    )


def test_thread_counts_are_noted_and_placement_is_a_warning(tmp_path):
    root = tree(tmp_path)
    assert found(root, "threads", {"OMP_NUM_THREADS": "8"}).level is Level.NOTE
    one = found(root, "threads", {"OMP_NUM_THREADS": "8", "OMP_PROC_BIND": "true"})
    assert (one.level, one.remedy) == (Level.WARNING, "Run: unset OMP_PROC_BIND")


def test_the_threading_layer_is_what_numba_would_choose(tmp_path):
    root = tree(tmp_path)
    names = {
        "tbb": EVERYTHING,
        "omp": lambda module: module != "tbb",
        "workqueue": lambda module: module == "numba",
    }
    for name, installed in names.items():
        assert found(root, "Numba threading layer", {}, installed).found == name
    asked = found(root, "Numba threading layer", {"NUMBA_THREADING_LAYER": "omp"})
    assert asked.found == "omp, by NUMBA_THREADING_LAYER"
    assert found(root, "Numba threading layer", {}, lambda module: False) is None


def test_the_tightest_of_nested_groups_counts_in_both_versions(tmp_path):
    files = {
        "proc/self/cgroup": "4:memory:/a/b\n3:cpu,cpuacct:/a\n0::/a/b",
        "sys/fs/cgroup/a/cpu.max": "300000 100000",
        "sys/fs/cgroup/a/b/cpu.max": "max 100000",
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "200000",
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1000",
    }
    root = tree(tmp_path, **files)
    assert cpu_quota(root) == 2.0
    assert memory_limit(root) == 1000


@pytest.mark.parametrize("text", ["", "garbage", "4:memory", ":::", "0::/../..", "0::"])
def test_a_cgroup_file_of_any_shape_is_survived(tmp_path, text):
    assert examine(tree(tmp_path, **{"proc/self/cgroup": text}), {}, EVERYTHING)


@pytest.mark.parametrize(
    ("text", "cpus"), [("0-3,8", [0, 1, 2, 3, 8]), ("5", [5]), ("", []), ("a-b,x,2", [2])]
)
def test_kernel_lists_of_cpus_are_read(text, cpus):
    assert parse_cpus(text) == cpus


def test_the_worst_findings_come_first(tmp_path):
    root = tree(tmp_path, **{"proc/loadavg": "9 9 9 1/9 9", f"{CPU}/intel_pstate/no_turbo": "0"})
    levels = [list(Level).index(one.level) for one in examine(root, {}, EVERYTHING)]
    assert levels == sorted(levels)
    assert levels[0] == 0
