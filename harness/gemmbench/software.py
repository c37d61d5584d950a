"""The software that timings depend on: versions, the BLAS kernel that runs, GPUs and their driver.

Read once a run and stored with it, so that a later reader can tell whether two runs may be
compared. Only what moves a GEMM: not the kernel build, the hostname or the Python patch release.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

# Distributions whose version decides what is executed; CuPy's name says which CUDA it is for.
PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "cupy", "cupy-cuda12x", "cupy-cuda13x")
NVIDIA = Path("proc/driver/nvidia")
DRIVER_VERSION = re.compile(r"\b\d{3,}\.\d+(?:\.\d+)?\b")  # "570.86.15", not a date or a GCC


@dataclass(frozen=True, slots=True)
class Software:
    """Versions by distribution, NumPy's BLAS with its kernel, GPU models and their driver."""

    packages: tuple[tuple[str, str], ...] = ()  # sorted by name; absent ones are left out
    blas: str = ""  # "openblas 0.3.31"; "" where threadpoolctl knows none
    blas_kernel: str = ""  # what the BLAS chose for this CPU, or was forced to: "Zen"
    gpus: tuple[str, ...] = ()  # models, in the order of their bus addresses
    gpu_driver: str = ""


def detect_software(root: Path = Path("/")) -> Software:
    """What is installed here; GPUs are looked for under `root`. Imports NumPy, to see its BLAS."""
    blas, kernel = _blas()
    gpus, driver = read_gpus(root)
    return Software(_packages(), blas, kernel, gpus, driver)


def read_gpus(root: Path) -> tuple[tuple[str, ...], str]:
    """Models of the NVIDIA GPUs and the driver's version, from /proc; ((), '') without any."""
    models = []
    for path in sorted((root / NVIDIA / "gpus").glob("*/information")):
        found = re.search(r"^Model:\s*(.+?)\s*$", _read(path), re.MULTILINE)
        models.append(found[1] if found else "unknown")
    version = DRIVER_VERSION.search(_read(root / NVIDIA / "version"))
    return tuple(models), version[0] if version else ""


def software_to_data(software: Software) -> dict[str, Any]:
    """`software` as JSON-able data."""
    lists = {"packages": dict(software.packages), "gpus": list(software.gpus)}
    return {**dataclasses.asdict(software), **lists}


def software_from_data(data: Mapping[str, Any]) -> Software:
    """The software that `software_to_data` wrote, fields of other versions left out."""
    known = {field.name for field in dataclasses.fields(Software)} & set(data)
    fields = {name: data[name] for name in known}
    packages = tuple(sorted(fields.get("packages", {}).items()))
    return Software(**{**fields, "packages": packages, "gpus": tuple(fields.get("gpus", ()))})


def _packages() -> tuple[tuple[str, str], ...]:
    found = []
    for name in sorted(PACKAGES):
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def _blas() -> tuple[str, str]:
    """Name with version, and kernel, of the BLAS that NumPy loaded."""
    import numpy  # noqa: F401  it loads its BLAS
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    # SciPy's wheel brings a BLAS of its own; np.matmul calls the one in NumPy's.
    pools.sort(key=lambda pool: "numpy" not in pool["filepath"])
    if not pools:
        return "", ""
    first = pools[0]
    return f"{first['internal_api']} {first['version']}", str(first.get("architecture") or "")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
