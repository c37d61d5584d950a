"""Variables and settings that change which kernel runs, on how many threads, in what pages."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gemmbench.doctor.finding import Finding, Level, read
from gemmbench.link import THREAD_VARIABLES

FORCING = {  # variable -> whose kernel, or whose instructions, it chooses
    "OPENBLAS_CORETYPE": "OpenBLAS",
    "OPENBLAS_L2_SIZE": "OpenBLAS",
    "MKL_ENABLE_INSTRUCTIONS": "MKL",
    "MKL_DEBUG_CPU_TYPE": "MKL",
    "MKL_CBWR": "MKL",
    "BLIS_ARCH_TYPE": "BLIS",
    "BLIS_MODEL_TYPE": "BLIS",
    "NPY_DISABLE_CPU_FEATURES": "NumPy",
    "NPY_ENABLE_CPU_FEATURES": "NumPy",
    "NUMBA_CPU_NAME": "Numba",
    "NUMBA_CPU_FEATURES": "Numba",
    "ONEDNN_MAX_CPU_ISA": "oneDNN",
    "DNNL_MAX_CPU_ISA": "oneDNN",
    "ATEN_CPU_CAPABILITY": "PyTorch",
}
PLACING = (  # where threads run, and how they wait: inherited by the workers
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "OMP_WAIT_POLICY",
    "GOMP_CPU_AFFINITY",
    "GOMP_SPINCOUNT",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "MKL_DYNAMIC",
    "OMP_DYNAMIC",
)
LAYERS = {"tbb": "numba.np.ufunc.tbbpool", "omp": "numba.np.ufunc.omppool"}  # built with Numba
HUGE_PAGES = Path("sys/kernel/mm/transparent_hugepage/enabled")

Installed = Callable[[str], bool]


def environment(
    root: Path, variables: Mapping[str, str], installed: Installed
) -> Iterator[Finding]:
    """Findings on variables, memory pages and Numba's thread pool."""
    yield _forced(variables)
    yield _threads(variables)
    yield from _huge_pages(root)
    yield from _numba(variables, installed)


def forced_kernels(variables: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that force a library's kernel or instructions, as NAME=value."""
    return tuple(f"{name}={variables[name]}" for name in FORCING if name in variables)


def _forced(variables: Mapping[str, str]) -> Finding:
    forced = forced_kernels(variables)
    why = "A forced kernel is not the one that a user of this machine would get."
    if not forced:
        return Finding("forced kernels", Level.OK, "none by environment variables", why)
    whose = dict.fromkeys(FORCING[name] for name in FORCING if name in variables)
    found = f"{', '.join(forced)} (read by {', '.join(whose)})"
    remedy = f"Run: unset {' '.join(name for name in FORCING if name in variables)}"
    return Finding("forced kernels", Level.WARNING, found, why, remedy)


def _threads(variables: Mapping[str, str]) -> Finding:
    counts, placing = (
        [f"{name}={variables[name]}" for name in names if name in variables]
        for names in (THREAD_VARIABLES, PLACING)
    )
    why = "Thread counts are set for each worker; where threads run and how they wait is inherited."
    if placing:
        remedy = f"Run: unset {' '.join(name for name in PLACING if name in variables)}"
        return Finding("threads", Level.WARNING, ", ".join([*placing, *counts]), why, remedy)
    if counts:
        remedy = "None needed: workers get what --threads says instead."
        return Finding("threads", Level.NOTE, ", ".join(counts), why, remedy)
    return Finding("threads", Level.OK, "no variable that workers would inherit", why)


def _huge_pages(root: Path) -> Iterator[Finding]:
    chosen = re.search(r"\[(\w+)\]", read(root / HUGE_PAGES))
    if not chosen:
        return
    never = chosen[1] == "never"
    yield Finding(
        "huge pages",
        Level.NOTE if never else Level.OK,
        f"transparent huge pages: {chosen[1]}",
        "Without them large operands miss the TLB; NumPy asks for them where 'madvise' is set.",
        f"Run: echo madvise | sudo tee /{HUGE_PAGES}" if never else "",
    )


def _numba(variables: Mapping[str, str], installed: Installed) -> Iterator[Finding]:
    if not installed("numba"):
        return
    asked = variables.get("NUMBA_THREADING_LAYER", "")
    there = [name for name, module in LAYERS.items() if installed(module)]
    there = [name for name in there if name != "tbb" or installed("tbb")]
    found = asked or (there[0] if there else "workqueue")
    alone = not asked and not there
    yield Finding(
        "Numba threading layer",
        Level.NOTE if asked or alone else Level.OK,
        f"{found}{', by NUMBA_THREADING_LAYER' if asked else ''}",
        "Kernels of your own with parallel=True run on it; 'workqueue' does not allow two threads "
        "to start parallel work at once. gemmbench's own kernels bring their threads.",
        "Run: pip install tbb" if alone else "",
    )
