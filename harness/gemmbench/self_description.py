"""What a backend says of itself in its worker: whether it can run, what it offers, its sources.

A backend answers in its own words, or not at all: each is brought into the form of a reply here.
"""

import hashlib
import inspect
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from gemmbench.backend import (
    PER_IMAGE,
    Backend,
    Location,
    algorithms,
    declined,
    lowerings,
)
from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.problem import Problem
from gemmbench.serving import printable
from gemmbench.space import Config, space_to_data

LISTED_CONFIGS = 50_000  # most configs that cross the pipe, a random sample of larger spaces

Json = dict[str, Any]


def describe(
    backend: Backend,
    location: Location,
    problem: Problem,
    machine: Machine,
    threads: int,
    lowering: Sequence[str] | None,
) -> Json:
    """Whether the backend can run the problem; unless `lowering` is None, what it offers to tune.

    `lowering`: the ways of lowering a batch that are wanted, of an algorithm that has several.
    """
    unavailable = backend.unavailable()
    unsupported = backend.supports(problem) if unavailable is None else None
    usable = unavailable is None and unsupported is None
    offered: list[Json] = []
    if usable and lowering is not None:
        offered = _offers(backend, problem, machine, threads, lowering)
    library = "" if unavailable is not None else str(optional(backend, "library", ""))
    refused = declined(backend, problem) if usable else {}
    return {
        "name": backend.name,
        "unavailable": _reason(unavailable),
        "unsupported": _reason(unsupported),
        "library": library,
        "source_hash": source_hash(backend, library),
        "file": module_file(location),
        "offers": offered,
        "exclusive": bool(getattr(backend, "exclusive", False)),
        "declined": {name: _reason(why) for name, why in refused.items()},
        **_device(backend, problem, usable),
    }


def ways(backend: Backend, problems: Sequence[Problem]) -> list[list[str]]:
    """The algorithms that the backend offers for each of `problems`; none if it cannot run."""
    usable = backend.unavailable() is None
    return [
        list(algorithms(backend, one)) if usable and backend.supports(one) is None else []
        for one in problems
    ]


def listing(backend: Backend, problem: Problem, arch: str, processes: int) -> Any:
    """What a compiler says of each config of the problem on `arch`; needs no device."""
    rows = getattr(backend, "listing", None)
    if rows is None:
        raise GemmbenchError(f"{backend.name} compiles for no --arch: it lists no configs.")
    return rows(problem, arch, processes)


def optional(backend: Backend | None, method: str, default: Any) -> Any:
    """What the backend's `method` gives, or `default` where it has none."""
    found = getattr(backend, method, None)
    return default if found is None else found()


def module_file(location: Location) -> str:
    """The file from which the backend's module was really imported; '' if it has none."""
    name = location.module
    found = name if name.endswith(".py") else getattr(sys.modules[name], "__file__", None)
    return str(Path(found).resolve()) if found else ""


def source_hash(backend: Backend, library: str) -> str:
    """Twelve hex digits that change with the backend's source files or the library it drives."""
    sources: Sequence[Path] = optional(backend, "sources", [])
    paths = sorted(Path(p) for p in sources) or [Path(inspect.getfile(type(backend)))]
    digest = hashlib.sha256(library.encode())
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _offers(
    backend: Backend, problem: Problem, machine: Machine, threads: int, lowering: Sequence[str]
) -> list[Json]:
    """Each algorithm with each kind of weights, and its search space as data."""
    offers = []
    several = lowerings(backend, problem)
    for algorithm, kinds in algorithms(backend, problem).items():
        ways = [way for way in lowering if way in several.get(algorithm, (PER_IMAGE,))]
        for weights, way in product(kinds, ways or [PER_IMAGE]):
            choice: Config = {"algorithm": algorithm, "weights": weights, "threads": threads}
            if way != PER_IMAGE:
                choice = {**choice, "lowering": way}
            space = backend.search_space(problem, machine, choice)
            data = space_to_data(space, LISTED_CONFIGS) if space is not None else None
            offers.append({"algorithm": algorithm, "weights": weights, "space": data})
    return offers


def _device(backend: Backend, problem: Problem, usable: bool) -> Json:
    """The device, where the backend has one, and what it can reach at most."""
    device = optional(backend, "device", "") if usable else ""
    peak = getattr(backend, "device_peak", None) if device else None
    return {"device": device, "device_peak": None if peak is None else peak(problem.dtype)}


def _reason(text: object) -> str | None:
    """One printable line of a backend's reason; None if it gave none."""
    return None if text is None else (printable(str(text)) or "it gave no reason")
