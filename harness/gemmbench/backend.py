"""The Backend contract, and how a name becomes a backend.

A backend is a plain class: no base class, no registration call. It is only ever imported inside
a worker process, so this module resolves specs to locations without importing them.
"""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.machine import Machine
from gemmbench.problem import Conv2d, Problem
from gemmbench.space import Config, SearchSpace

ENTRY_POINT_GROUP = "gemmbench.backends"
METHODS = ("unavailable", "supports", "search_space", "prepare")
PREPARED = ("run", "output")  # what is called of what `prepare` gives
PER_IMAGE, WHOLE = "per-image", "whole"  # how im2col lowers a batch; the first by default

Array = NDArray[Any]
Operands = Mapping[str, Array]
"""Row-major, 64-byte aligned arrays: `a` (m, k), `b` (k, n) for a Gemm; `x` (batch, in), `w`
(out, in) for a Linear; `x` (N, C, H, W), `w` (K, C/groups, R, S) for a Conv2d; and `out`, the
array to write. Inputs are not to be written."""


class DeviceClock(Protocol):
    """Times calls that a device runs by itself while the host goes on."""

    def start(self, launches: int) -> None:
        """Begin; about `launches` kernels are about to be queued."""

    def stop(self) -> float:
        """Seconds between `start` and the end of what was queued since. Waits for it."""

    def flush(self) -> None:
        """Leave none of the operands in the device's caches."""


class Prepared(Protocol):
    """A contender ready to run: everything allocated, packed and compiled.

    Optional attributes: `synchronize()` waits for a device; `workspace_bytes: int` is memory
    beyond operands and output, prepared weights included; `stages: Mapping[str, Callable[[],
    None]]` are the parts of one call in order, each callable alone and as long as in a call, so
    that their times add up to the call's (one that works block by block goes through all blocks
    doing one part of each; in order the stages then give the last block's answer); none where a
    call cannot be taken apart, as where packing and multiplying are fused; `launches: int`, how
    many kernels a call queues on a device about, 1 if it does not say; `flops: int` are the
    operations the algorithm itself executes, where they differ from the direct method's;
    `error_growth: float`, how many times a transform amplifies rounding errors, by its own
    matrices (see reference.py). On a device: `load()` copies the operands there, is called
    whenever they changed, and is not timed;
    `clock: DeviceClock` times calls.
    """

    def run(self) -> object:
        """Compute the problem once from the operands as they are now. Timed."""

    def output(self) -> Array:
        """The answer of the last `run()`: `operands["out"]` or a copy from a device. Not timed."""


class Backend(Protocol):
    """A library or a kernel family. Third-party imports live inside the methods.

    Optional: `algorithms(problem) -> Mapping[str, Sequence[str]]`, each algorithm's name with
    the weights it takes ("plain", "prepared"), default one algorithm with plain weights;
    `lowerings(problem) -> Mapping[str, Sequence[str]]`, of algorithms that lower a batch into
    columns, how: "per-image" (the default) or "whole", which is asked for by `choice["lowering"]`
    and is an axis of that name, of one value, in the space of that choice;
    `declined(problem) -> Mapping[str, str]`, algorithms it has but not for this problem, and why;
    `library() -> str`, which library, version and kernel really runs, where it can; `sources() ->
    Iterable[Path]`, the files whose change makes stored winners stale (default: the module);
    `exclusive: bool`, whether its library can share a process with no other such backend's.
    With a device: `device() -> str` names it, and backends that name the same share a process that
    is never stopped; `device_state() -> Mapping`, its clocks and power now; `device_peak(dtype)`,
    operations a second that it cannot exceed; `lost() -> str | None`, asked after an error, why
    its process must be replaced; `listing(problem, arch, processes)`, rows on each config from a
    compiler alone; `diagnose() -> str`, a report of its own checks.
    A backend named with an option (`blas:mkl`) gets it as the only argument of its constructor.
    """

    name: str

    def unavailable(self) -> str | None:
        """Why it can't run here and the command that mends it; None if it can."""

    def supports(self, problem: Problem) -> str | None:
        """None, or why it can't compute this problem."""

    def search_space(
        self, problem: Problem, machine: Machine, choice: Config
    ) -> SearchSpace | None:
        """What can be tuned for `choice` ("algorithm", "weights", "threads"); None if nothing."""

    def prepare(self, problem: Problem, config: Config, operands: Operands) -> Prepared:
        """Allocate, pack and compile. `config` holds a point of the search space and `choice`."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a backend's class is: an entry point with its option, an import path, or a file."""

    module: str  # dotted name, or the path of a .py file
    attribute: str
    option: str = ""

    @property
    def key(self) -> str:
        """What tells it from others in one process; two backends may call themselves the same."""
        return f"{self.module}:{self.attribute}:{self.option}"


def installed_backends() -> dict[str, str]:
    """Names of the backends that installed packages register, each with its 'module:Class'."""
    return {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}


def locate_backend(spec: str, folder: Path | None = None) -> Location:
    """Where `spec` points; nothing is imported. A relative file is looked up in `folder`.

    Raises GemmbenchError, naming what is allowed, for a spec that is none of 'numba',
    'blas:mkl', 'my_pkg.kernels:MyGemm', './my_kernel.py:MyGemm'.
    """
    left, colon, right = spec.rpartition(":") if ".py:" in spec else spec.partition(":")
    installed = installed_backends()
    if left.endswith(".py"):
        path = (folder or Path.cwd()) / left
        if not path.is_file():
            raise GemmbenchError(f"backend {spec!r}: there is no file {path}.")
        if not right.isidentifier():
            raise GemmbenchError(f"backend {spec!r}: name its class, as in {left}:MyGemm.")
        return Location(str(path.resolve()), right)
    if left in installed:
        module, _, attribute = installed[left].partition(":")
        return Location(module, attribute, right)
    if colon and right.isidentifier() and all(part.isidentifier() for part in left.split(".")):
        return Location(left, right)
    if spec.endswith(".py"):
        raise GemmbenchError(f"backend {spec!r}: name its class, as in {spec}:MyGemm.")
    raise GemmbenchError(
        f"backend {spec!r} is unknown.{did_you_mean(left, installed)} Your own kernel is named "
        "by file (./my_kernel.py:MyGemm) or by import path (my_pkg.kernels:MyGemm)."
    )


def load_backend(location: Location) -> Backend:
    """An instance of the backend at `location`. Only a worker calls this: it imports code.

    Raises GemmbenchError if the class is not there or lacks a part of the contract.
    """
    module = _import(location.module)
    make: Callable[..., Backend] | None = getattr(module, location.attribute, None)
    if make is None:
        raise GemmbenchError(
            f"{location.module}: there is no {location.attribute!r}."
            f"{did_you_mean(location.attribute, [n for n in vars(module) if n[:1].isupper()])}"
        )
    if location.option and not inspect.signature(make).parameters:
        raise GemmbenchError(
            f"{location.module}:{location.attribute} takes no option, got {location.option!r}."
        )
    backend = make(location.option) if location.option else make()
    missing = [part for part in METHODS if not callable(getattr(backend, part, None))]
    if not isinstance(getattr(backend, "name", None), str):
        missing.insert(0, "name")
    if missing:
        raise GemmbenchError(
            f"{location.module}:{location.attribute} lacks {', '.join(missing)}. "
            f"A backend defines name, {', '.join(METHODS)}."
        )
    return backend


def prepared_by(backend: Backend, problem: Problem, config: Config, operands: Operands) -> Prepared:
    """What `backend` prepares. Raises GemmbenchError, naming its file, if that cannot be run."""
    prepared: Any = backend.prepare(problem, config, operands)
    missing = [part for part in PREPARED if not callable(getattr(prepared, part, None))]
    if missing:
        given = "nothing" if prepared is None else f"a {type(prepared).__name__}"
        raise GemmbenchError(
            f"{place_of(backend)}: prepare() returned {given} without {' and '.join(missing)}. "
            f"It returns an object with the methods {' and '.join(PREPARED)}."
        )
    found: Prepared = prepared
    return found


def place_of(backend: Backend) -> str:
    """The file and the class of `backend`, as 'my_kernel.py:MyGemm'."""
    kind = type(backend)
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or kind.__module__
    return f"{Path(file).name}:{kind.__name__}"


def algorithms(backend: Backend, problem: Problem) -> dict[str, tuple[str, ...]]:
    """Each algorithm that `backend` offers for `problem`, with the weights it takes."""
    offered = getattr(backend, "algorithms", None)
    if offered is None:
        return {"conv" if isinstance(problem, Conv2d) else "gemm": ("plain",)}
    return {str(name): tuple(weights) for name, weights in offered(problem).items()}


def lowerings(backend: Backend, problem: Problem) -> dict[str, tuple[str, ...]]:
    """The algorithms of `backend` that lower a batch in more than one way, each with the ways."""
    offered = getattr(backend, "lowerings", None)
    ways = {} if offered is None else offered(problem)
    return {str(name): tuple(kinds) for name, kinds in ways.items() if kinds}


def declined(backend: Backend, problem: Problem) -> dict[str, str]:
    """The algorithms that `backend` has, though not for `problem`, each with the reason."""
    reasons = getattr(backend, "declined", None)
    return {} if reasons is None else {str(a): str(why) for a, why in reasons(problem).items()}


def _import(module: str) -> Any:
    if not module.endswith(".py"):
        return importlib.import_module(module)
    path = Path(module)
    sys.path.append(str(path.parent))  # last: a neighbour must not stand in for a library
    name = f"gemmbench_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise GemmbenchError(f"{path}: Python cannot import it.")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return loaded
