"""The CUDA sources, and what NVRTC makes of them, on a device or without one.

CuPy's own compiler needs a device even to name an architecture; its binding of NVRTC does not. The
options are those that CuPy adds itself, so what is compiled here is what a device would run.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from gemmbench.errors import GemmbenchError

HERE = Path(__file__).parent
STANDARD = "-std=c++17"
CUPY_ADDS = ("-ftz=true", "--device-as-default-execution-space")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
ENTRY = re.compile(r"Compiling entry function '(\w+)'")
SAVED_EVERY = 32  # configs compiled
INSTALL_CUPY = "Install both with: pip install 'gemmbench[cuda-test]'"
INSTALL_NVRTC = (
    "Install it with: pip install nvidia-cuda-nvrtc, or nvidia-cuda-nvrtc-cu12 beside cupy-cuda12x"
)

Macros = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Resources:
    """What the compiler says that a kernel takes: registers and local memory of a thread."""

    registers: int
    shared_bytes: int  # static, of a block
    stack_bytes: int
    spill_bytes: int  # stores and loads


@dataclass(frozen=True, slots=True)
class Compiled:
    """A module: the resources of each of its kernels."""

    kernels: Mapping[str, Resources]


def gemm_source(implicit: bool) -> str:
    """The source of the `gemm` kernel; `implicit` takes B from images."""
    return source("image") + source("gemm") if implicit else source("gemm")


def source(name: str) -> str:
    """The text of `name`.cu."""
    return (HERE / f"{name}.cu").read_text(encoding="utf-8")


def options(macros: Macros) -> tuple[str, ...]:
    """What CuPy is to pass to the compiler for `macros`."""
    return (STANDARD, *(f"-D{name}={value}" for name, value in macros.items()))


def compile_source(code: str, macros: Macros, arch: str) -> Compiled:
    """`code` compiled for `arch`, such as "sm_90". Needs no device.

    Raises GemmbenchError with the compiler's first error, or where there is no compiler.
    """
    reason = compiler_missing()
    if reason is not None:
        raise GemmbenchError(f"cannot compile for {arch}: {reason}.")
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(code, "gemmbench.cu", (), ())
    try:
        wanted = (*options(macros), f"-arch={arch}", *CUPY_ADDS, "--ptxas-options=-v")
        nvrtc.compileProgram(program, wanted)
        log = nvrtc.getProgramLog(program)
    except nvrtc.NVRTCError:
        log = nvrtc.getProgramLog(program)
        raise GemmbenchError(f"the kernel does not compile for {arch}: {_error(log)}") from None
    finally:
        nvrtc.destroyProgram(program)
    return Compiled(read_log(log))


def compiler_missing() -> str | None:
    """Why nothing can be compiled here, and the command that mends it; None if it can."""
    try:
        from cupy.cuda import nvrtc
    except ImportError as error:
        return f"CuPy is not installed or does not import ({line(error)}). {INSTALL_CUPY}"
    try:
        nvrtc.getVersion()
    except (RuntimeError, ImportError) as error:
        return f"CuPy finds no NVRTC, CUDA's compiler ({line(error)}). {INSTALL_NVRTC}"
    return None


def compiler_version() -> str:
    """'NVRTC 13.5'."""
    from cupy.cuda import nvrtc

    return "NVRTC {}.{}".format(*nvrtc.getVersion())


def read_log(log: str) -> dict[str, Resources]:
    """What ptxas reports of each kernel with --ptxas-options=-v."""
    kernels: dict[str, Resources] = {}
    for part in log.split("Compiling entry function")[1:]:
        name = ENTRY.search("Compiling entry function" + part)
        used, shared, spills = USED.search(part), SHARED.search(part), SPILLS.search(part)
        if name is None or used is None or spills is None:
            raise GemmbenchError(f"the compiler's report is not understood: {line(part)}")
        stack, stores, loads = (int(number) for number in spills.groups())
        kernels[name[1]] = Resources(
            int(used[1]), int(shared[1]) if shared else 0, stack, stores + loads
        )
    return kernels


def compile_all(
    configs: Sequence[tuple[bool, Macros]],
    arch: str,
    processes: int,
) -> list[Resources]:
    """Resources of the gemm kernel for each (implicit, macros), from a cache where known.

    NVRTC compiles one program at a time, so that only processes compile side by side.
    """
    cache = _Cache(arch)
    keys = [json.dumps([implicit, dict(macros)]) for implicit, macros in configs]
    missing = [i for i, key in enumerate(keys) if key not in cache.known]
    if missing:
        wanted = [(*configs[i], arch) for i in missing]
        with ProcessPoolExecutor(max(1, processes), get_context("spawn")) as pool:
            found = pool.map(_resources, wanted, chunksize=4)
            for done, (i, resources) in enumerate(zip(missing, found, strict=True), 1):
                cache.known[keys[i]] = resources
                if done % SAVED_EVERY == 0 or done == len(missing):
                    cache.save()  # whoever interrupts this goes on from here
    return [cache.known[key] for key in keys]


def _resources(wanted: tuple[bool, Macros, str]) -> Resources:
    implicit, macros, arch = wanted
    return compile_source(gemm_source(implicit), macros, arch).kernels["gemm"]


class _Cache:
    """What was compiled before: a file for each architecture, source and compiler."""

    def __init__(self, arch: str) -> None:
        reason = compiler_missing()
        if reason is not None:
            raise GemmbenchError(f"cannot compile for {arch}: {reason}.")
        text = f"{gemm_source(True)}{compiler_version()}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self.path = Path(base) / "gemmbench" / f"cuda-{arch}-{digest}.json"
        self.known: dict[str, Resources] = {}
        try:
            stored: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
            self.known = {key: Resources(**value) for key, value in stored.items()}
        except (OSError, ValueError, TypeError):
            self.known = {}  # absent or torn: compile anew

    def save(self) -> None:
        """Keep what is known; where there is no place for it, it is compiled again next time."""
        data = {key: asdict(value) for key, value in self.known.items()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps(data), encoding="utf-8")
            temporary.replace(self.path)
        except OSError:
            return


def _error(log: str) -> str:
    lines = [line for line in log.splitlines() if "error" in line]
    return " ".join((lines or log.splitlines() or ["no message"])[0].split())


def line(error: object) -> str:
    """What an error says, in one line of at most 200 characters without a full stop."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200].rstrip(".")
