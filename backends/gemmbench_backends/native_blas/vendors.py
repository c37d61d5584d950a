"""What a loaded BLAS says of itself, and how it is told its number of threads."""

import re
from ctypes import CDLL, Structure, byref, c_char_p, c_int, c_int64
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

OPENBLAS_SPELLINGS = ("openblas_{}", "scipy_openblas_{}", "openblas_{}64_", "scipy_openblas_{}64_")
MKL_KERNELS = re.compile(r"/libmkl_(def|mc\d?|avx\w*)\.so")  # one library for each instruction set


class Vendor(Protocol):
    """The maker of a library, as far as gemmbench knows it."""

    def set_threads(self, threads: int) -> None:
        """Use that many threads from now on."""

    def threads(self) -> int | None:
        """How many it uses; None where it doesn't say."""

    def version(self) -> str:
        """Its name and version."""

    def kernel(self) -> str:
        """Which of its kernels it chose for this CPU; MKL knows only after a first product."""


def identify(library: CDLL) -> Vendor:
    """The vendor whose functions `library` exports."""
    for spelling in OPENBLAS_SPELLINGS:
        if hasattr(library, spelling.format("get_config")):
            return OpenBlas(library, spelling)
    if hasattr(library, "MKL_Get_Version"):
        return Mkl(library)
    if hasattr(library, "bli_info_get_version_str"):
        return Blis(library)
    return Unknown()


@dataclass(frozen=True, slots=True)
class OpenBlas:
    """`spelling` is how this build names its own functions."""

    library: CDLL
    spelling: str

    def set_threads(self, threads: int) -> None:
        """openblas_set_num_threads."""
        getattr(self.library, self.spelling.format("set_num_threads"))(threads)

    def threads(self) -> int:
        """openblas_get_num_threads."""
        return int(getattr(self.library, self.spelling.format("get_num_threads"))())

    def version(self) -> str:
        """The first two words of openblas_get_config: 'OpenBLAS 0.3.34 DYNAMIC_ARCH …'."""
        return " ".join(_text(self.library, self.spelling.format("get_config")).split()[:2])

    def kernel(self) -> str:
        """openblas_get_corename."""
        return _text(self.library, self.spelling.format("get_corename"))


class _MklVersion(Structure):
    """MKLVersion of mkl_types.h."""

    _fields_ = (
        ("major", c_int), ("minor", c_int), ("update", c_int), ("status", c_char_p),
        ("build", c_char_p), ("processor", c_char_p), ("platform", c_char_p),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mkl:
    """oneMKL through its single dynamic library, which loads the kernels for this CPU itself."""

    library: CDLL

    def set_threads(self, threads: int) -> None:
        """MKL_Set_Num_Threads."""
        self.library.MKL_Set_Num_Threads(threads)

    def threads(self) -> int:
        """MKL_Get_Max_Threads."""
        return int(self.library.MKL_Get_Max_Threads())

    def version(self) -> str:
        """MKL_Get_Version: major and update, as Intel writes it."""
        found = self._version()
        return f"MKL {found.major}.{found.update}"

    def kernel(self) -> str:
        """The kernel library that is loaded; before the first product what MKL thinks of the CPU.

        MKL may load 'def' on a processor that is not Intel's, whatever vectors that has.
        """
        loaded = MKL_KERNELS.search(Path("/proc/self/maps").read_text())
        return loaded.group(1) if loaded else self._version().processor.decode()

    def _version(self) -> Any:
        found = _MklVersion()
        self.library.MKL_Get_Version(byref(found))
        return found


@dataclass(frozen=True, slots=True)
class Blis:
    """BLIS, also AMD's. Its environment variable BLIS_ARCH_TYPE overrules the kernel."""

    library: CDLL

    def set_threads(self, threads: int) -> None:
        """bli_thread_set_num_threads; a build without threads ignores it."""
        self.library.bli_thread_set_num_threads(c_int64(threads))

    def threads(self) -> int | None:
        """bli_thread_get_num_threads, and 1 of a build without threads; None if none was set."""
        enabled = getattr(self.library, "bli_info_get_enable_threading", None)
        if enabled is not None and not enabled():
            return 1
        count = int(self.library.bli_thread_get_num_threads())
        return count if count > 0 else None

    def version(self) -> str:
        """bli_info_get_version_str."""
        return f"BLIS {_text(self.library, 'bli_info_get_version_str').removeprefix('AOCL-BLIS ')}"

    def kernel(self) -> str:
        """The name of its configuration: bli_arch_string(bli_arch_query_id())."""
        return _text(self.library, "bli_arch_string", self.library.bli_arch_query_id())


class Unknown:
    """A library that exports nobody's functions: it is told its threads by the environment."""

    def set_threads(self, threads: int) -> None:
        """Nothing: a worker starts with OMP_NUM_THREADS and the like."""

    def threads(self) -> None:
        """None: it doesn't say."""
        return

    def version(self) -> str:
        """What little is known."""
        return "a BLAS that does not name itself"

    def kernel(self) -> str:
        """Nothing is known."""
        return ""


def _text(library: CDLL, name: str, *arguments: Any) -> str:
    function = getattr(library, name)
    function.restype = c_char_p
    found = function(*arguments)
    return found.decode() if found else "?"
