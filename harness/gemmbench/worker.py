"""The process that holds one backend: describes, prepares, verifies and times it on request.

Started by `link.py` as `python -m gemmbench.worker READ_FD WRITE_FD`. Requests and replies are
JSON lines on those two private descriptors; stdout and stderr belong to the backend. It knows
nothing of suites, races or stores: it does what it is told, one request at a time.
"""

import contextlib
import gc
import hashlib
import inspect
import json
import math
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gemmbench import __version__
from gemmbench.backend import (
    PER_IMAGE,
    Backend,
    Location,
    Prepared,
    algorithms,
    declined,
    load_backend,
    lowerings,
)
from gemmbench.errors import GemmbenchError
from gemmbench.footprint import call_bytes, cold_ratio
from gemmbench.machine import Machine, machine_from_data
from gemmbench.operands import (
    Array,
    Layout,
    aligned_empty,
    guarded_output,
    map_operands,
)
from gemmbench.problem import Problem, problem_from_data
from gemmbench.reference import Check, check
from gemmbench.space import Config, space_to_data
from gemmbench.timing import Copy, Slot, load, synchronize, time_block

PROTOCOL_VERSION = 2  # 2: `time_slice`, and `layout` when opened
REASON_LENGTH = 500  # characters; a backend may raise with megabytes of text
PR_SET_PDEATHSIG = 1  # linux/prctl.h
COLD_COPIES = 256  # most copies that cold mode rotates through
LISTED_CONFIGS = 50_000  # most configs that cross the pipe, a random sample of larger spaces
COLD_BYTES = 2**29  # and the most memory it takes: half a GiB

Json = dict[str, Any]


@dataclass(slots=True)
class Worker:
    """The backend under test and everything prepared with it. Methods are the requests."""

    problem: Problem
    layout: Layout = field(default_factory=Layout)
    backend: Backend | None = None  # the one described last
    backends: dict[str, Backend] = field(default_factory=dict)  # those of one device, by location
    slots: dict[int, Slot] = field(default_factory=dict)
    operands: dict[str, Array] = field(default_factory=dict)
    loaded: str = ""  # label of the case whose operands are in the buffers
    frozen: bool = False  # what imports and the first preparation left is no garbage

    def describe(
        self,
        location: Json,
        machine: Json,
        threads: int,
        offers: bool,
        lowering: Sequence[str] = (PER_IMAGE,),
    ) -> Json:
        """Import the backend; tell whether it can run and, if asked, what it offers to tune.

        `lowering`: the ways of lowering a batch that are wanted, of an algorithm that has several.

        Backends of one device share this process; later requests call them by `Location.key`.
        """
        at = Location(**location)
        self.backend = self.backends[at.key] = load_backend(at)
        unavailable = self.backend.unavailable()
        unsupported = None
        if unavailable is None:
            unsupported = self.backend.supports(self.problem)
        usable = unavailable is None and unsupported is None
        offered = []
        if usable and offers:
            offered = self._offers(machine_from_data(machine), threads, lowering)
        library = "" if unavailable is not None else str(_optional(self.backend, "library", ""))
        return {
            "name": self.backend.name,
            "unavailable": _reason(unavailable),
            "unsupported": _reason(unsupported),
            "library": library,
            "source_hash": source_hash(self.backend, library),
            "file": module_file(Location(**location)),
            "offers": offered,
            "exclusive": bool(getattr(self.backend, "exclusive", False)),
            "declined": {
                name: _reason(why)
                for name, why in (declined(self.backend, self.problem) if usable else {}).items()
            },
            **self._device(usable),
        }

    def load(self, case: Json) -> Json:
        """Copy the operands of `case` into every buffer, unless they are there already."""
        if self.loaded != case["label"]:
            mapped = map_operands(case["operands"])
            self.loaded = ""  # should this fail half way, the buffers hold neither case
            for buffers in self._buffers(mapped):
                for name, array in mapped.items():
                    np.copyto(buffers[name], array)
            for entry in self.slots.values():
                for copy in entry.copies:
                    load(copy.prepared)
            self.loaded = case["label"]
        return {}

    def prepare(
        self, slot: int, config: Json, case: Json, cold_bytes: int = 0, backend: str = ""
    ) -> Json:
        """Prepare a contender on the operands of `case`. With `cold_bytes`, on enough copies.

        A device that can flush its caches needs no copies.
        """
        self.load(case)
        self.backend = self.backends[backend] if backend else self.backend
        prepared = self._prepare(config, self.operands)
        copies = [prepared]
        workspace = getattr(prepared.prepared, "workspace_bytes", None)
        footprint = sum(a.nbytes for a in (*self.operands.values(), prepared.out.array))
        rotated = 0 if hasattr(prepared.prepared, "clock") else cold_bytes
        for _ in range(1, copies_for(rotated, footprint + (workspace or 0))):
            operands = {name: self._copy(array) for name, array in self.operands.items()}
            copies.append(self._prepare(config, operands))
        self.slots[slot] = Slot(str(config["algorithm"]), copies, cold=cold_bytes > 0)
        prepared_flops = getattr(prepared.prepared, "flops", None)
        if not self.frozen:
            gc.freeze()  # or each collection would walk everything a library ever made
            self.frozen = True
        return {
            "workspace_bytes": None if workspace is None else int(workspace),
            "flops": None if prepared_flops is None else int(prepared_flops),
            "copies": len(copies),
        }

    def verify(self, slot: int, case: Json, how: str = "poisoned") -> Json:
        """Compare every copy's answer on the operands of `case` with the right one.

        `how`: "poisoned" clears the output first and runs; "stale" runs over the output of the
        calls before, so that doing nothing is wrong on changed operands; "timed" looks at what
        the last timed call left and runs nothing.
        """
        self.load(case)
        entry = self.slots[slot]
        answer = np.load(case["answer"], mmap_mode="r")
        magnitude = np.load(case["magnitude"], mmap_mode="r") if case["magnitude"] else None
        worst, wrong = Check(0.0, 0.0, 0.0, 0.0), None
        for copy in entry.copies if how != "timed" else [entry.copies[entry.turn]]:
            output = self._answer(copy, how)
            if output.dtype != self.problem.dtype:
                wrong = wrong or f"its output is {output.dtype}, not {self.problem.dtype}"
                continue
            scale = float(case["scale"])
            growth = float(getattr(copy.prepared, "error_growth", 1.0))
            result = check(self.problem, entry.algorithm, output, answer, magnitude, scale, growth)
            worst = max(worst, result, key=lambda one: one.max_error)
            wrong = wrong or self._objection(result, output.shape, copy, case)
        return {
            "max_error": _finite(worst.max_error),
            "bound": worst.bound,
            "relative_error": _finite(worst.relative_error),
            "rms_error": _finite(worst.rms_error),
            "wrong": wrong,
        }

    def time(self, slot: int, case: Json, loops: int, warmup: int) -> Json:
        """Seconds for `loops` calls, after `warmup` untimed ones."""
        self.load(case)
        entry = self.slots[slot]
        for _ in range(warmup):
            last = entry.next().prepared
            last.run()
            synchronize(last)
        return {"seconds": time_block(entry, loops)}

    def time_slice(self, slot: int, case: Json, calls: int, repeats: int, warmup: int) -> Json:
        """Seconds of each of `repeats` blocks of `calls` calls, after `warmup` untimed calls."""
        first = self.time(slot, case, calls, warmup)["seconds"]
        entry = self.slots[slot]
        return {"seconds": [first, *(time_block(entry, calls) for _ in range(1, repeats))]}

    def stages(self, slot: int, case: Json, repeats: int) -> Json:
        """Median seconds of each stage of one call, and of whole calls taken in turn with them.

        A cold slot takes the next copy for each, as calls do: a stage that reads operands finds
        them cold, what an earlier stage has just written is where a call would find it.
        """
        self.load(case)
        entry = self.slots[slot]
        if not _stages(entry.copies[0].prepared):
            return {"seconds": {}, "call": None}
        whole: list[float] = []
        seconds: dict[str, list[float]] = {}
        for _ in range(repeats):
            prepared = entry.next().prepared
            whole.append(_seconds_of(prepared, prepared.run))
            prepared = entry.next().prepared
            for name, stage in _stages(prepared).items():
                seconds.setdefault(name, []).append(_seconds_of(prepared, stage))
        medians = {name: float(np.median(values)) for name, values in seconds.items()}
        return {"seconds": medians, "call": float(np.median(whole))}

    def footprint(self, slot: int, case: Json, probes: int) -> Json:
        """Memory that one call takes, and how cold operands are that should be."""
        self.load(case)
        entry = self.slots[slot]
        copy = entry.next()
        on_device = hasattr(copy.prepared, "synchronize")
        return {
            "call_bytes": None if on_device else call_bytes(copy.prepared.run),
            "cold_ratio": cold_ratio(entry, probes),
        }

    def device_state(self) -> Json:
        """How the device is doing now: clocks, power, throttling."""
        state = _optional(self.backend, "device_state", {})
        return {"state": dict(state)}

    def ways(self, location: Json, problems: Sequence[Json]) -> Json:
        """The algorithms that the backend offers for each of `problems`; none if it cannot run."""
        backend = load_backend(Location(**location))
        asked = [problem_from_data(data) for data in problems]
        usable = backend.unavailable() is None
        return {
            "ways": [
                list(algorithms(backend, one)) if usable and backend.supports(one) is None else []
                for one in asked
            ]
        }

    def listing(self, location: Json, arch: str, processes: int) -> Json:
        """What a compiler says of each config of the problem on `arch`; needs no device."""
        backend = load_backend(Location(**location))
        rows = getattr(backend, "listing", None)
        if rows is None:
            raise GemmbenchError(f"{backend.name} compiles for no --arch: it lists no configs.")
        return {"rows": rows(self.problem, arch, processes)}

    def diagnose(self, location: Json) -> Json:
        """The report of a backend's own checks of its device; None if it has none."""
        return {"report": _optional(load_backend(Location(**location)), "diagnose", None)}

    def lost(self) -> str | None:
        """Why this process can do no more for its backend, after an error; None if it can."""
        reason: str | None = None if self.backend is None else _optional(self.backend, "lost", None)
        return reason

    def release(self, slot: int) -> Json:
        """Drop a prepared contender and its memory, reference cycles included."""
        self.slots.pop(slot, None)
        gc.collect()
        return {}

    def _answer(self, copy: Copy, how: str) -> Array:
        """What the contender answers; where `run()` left NaN in `out`, it keeps its own output."""
        if how == "poisoned":
            copy.out.poison()
        if how != "timed":
            copy.prepared.run()
            synchronize(copy.prepared)
        if how == "poisoned" and np.isnan(copy.out.array).any():
            own = np.asarray(copy.prepared.output())
            copy.own_output = not np.may_share_memory(own, copy.out.array)
            if not copy.own_output:
                copy.out.poison()  # written by `output()`, which is not timed: it does not count
        return copy.fetch()

    def _device(self, usable: bool) -> Json:
        """The device, where the backend has one, and what it can reach at most."""
        device = _optional(self.backend, "device", "") if usable else ""
        peak = getattr(self.backend, "device_peak", None) if device else None
        return {"device": device, "device_peak": None if peak is None else peak(self.problem.dtype)}

    def _offers(self, machine: Machine, threads: int, lowering: Sequence[str]) -> list[Json]:
        assert self.backend is not None  # noqa: S101 - describe() is always the first request
        offers = []
        several = lowerings(self.backend, self.problem)
        for algorithm, kinds in algorithms(self.backend, self.problem).items():
            ways = [way for way in lowering if way in several.get(algorithm, (PER_IMAGE,))]
            for weights, way in product(kinds, ways or [PER_IMAGE]):
                choice: Config = {"algorithm": algorithm, "weights": weights, "threads": threads}
                if way != PER_IMAGE:
                    choice = {**choice, "lowering": way}
                space = self.backend.search_space(self.problem, machine, choice)
                data = space_to_data(space, LISTED_CONFIGS) if space is not None else None
                offers.append({"algorithm": algorithm, "weights": weights, "space": data})
        return offers

    def _prepare(self, config: Json, operands: dict[str, Array]) -> Copy:
        assert self.backend is not None  # noqa: S101 - describe() is always the first request
        out = guarded_output(self.problem, self.layout.shift())
        given = {**operands, "out": out.array}
        return Copy(operands, out, self.backend.prepare(self.problem, config, given))

    def _buffers(self, mapped: Mapping[str, Array]) -> list[dict[str, Array]]:
        if not self.operands:
            self.operands = {name: self._empty(array) for name, array in mapped.items()}
        copies = (copy.operands for slot in self.slots.values() for copy in slot.copies[1:])
        return [self.operands, *copies]

    def _empty(self, like: Array) -> Array:
        return aligned_empty(like.shape, str(like.dtype), self.layout.shift())

    def _copy(self, array: Array) -> Array:
        fresh = self._empty(array)
        np.copyto(fresh, array)
        return fresh

    def _objection(
        self, result: Check, shape: tuple[int, ...], copy: Copy, case: Json
    ) -> str | None:
        """Why the output does not count, in one line; None if it is right."""
        if copy.out.overrun():
            return "wrote outside its output"
        for name, array in map_operands(case["operands"]).items():
            if not np.array_equal(copy.operands[name], array):
                self.loaded = ""  # the buffers no longer hold the case
                return f"changed its input {name!r}"
        if result.right:
            return None
        if shape != self.problem.output_shape():
            return f"its output has the shape {shape}, not {self.problem.output_shape()}"
        if not math.isfinite(result.max_error):
            return "left elements of its output unwritten, or wrote NaN or infinity"
        if result.bound == 0:
            return f"is off by {result.max_error:.3g} on small integers, where the answer is exact"
        return f"error {result.max_error:.3g} exceeds the bound {result.bound:.3g}"


def _stages(prepared: Prepared) -> Mapping[str, Callable[[], object]]:
    found: Mapping[str, Callable[[], object]] = getattr(prepared, "stages", {})
    return found


def _seconds_of(prepared: Prepared, call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    synchronize(prepared)
    return time.perf_counter() - start


def copies_for(cold_bytes: int, footprint: int) -> int:
    """How many copies of `footprint` bytes pass through `cold_bytes` of cache before a reuse."""
    if cold_bytes == 0:
        return 1
    affordable = max(2, COLD_BYTES // footprint)
    return min(COLD_COPIES, affordable, max(2, 1 + -(-cold_bytes // footprint)))


def module_file(location: Location) -> str:
    """The file from which the backend's module was really imported; '' if it has none."""
    name = location.module
    found = name if name.endswith(".py") else getattr(sys.modules[name], "__file__", None)
    return str(Path(found).resolve()) if found else ""


def source_hash(backend: Backend, library: str) -> str:
    """Twelve hex digits that change with the backend's source files or the library it drives."""
    sources: Sequence[Path] = _optional(backend, "sources", [])
    paths = sorted(Path(p) for p in sources) or [Path(inspect.getfile(type(backend)))]
    digest = hashlib.sha256(library.encode())
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Served(Protocol):
    """Whose methods are the requests of an open connection."""

    def lost(self) -> str | None:
        """Why this process can do no more, after an error; None if it can."""


Opened = Callable[[Mapping[str, Any]], Served]


def open_worker(params: Mapping[str, Any]) -> Worker:
    """The worker for the problem and layout that a connection is opened with."""
    return Worker(problem_from_data(params["problem"]), Layout(params.get("layout")))


def serve(requests: Any, replies: Any, opened: Opened = open_worker) -> None:
    """Answer requests until the pipe closes. Exceptions become error replies; crashes do not."""
    worker: Served | None = None
    _send(replies, {"protocol": PROTOCOL_VERSION, "gemmbench": __version__, "pid": os.getpid()})
    for line in requests:
        request = json.loads(line)
        method, params = request["method"], request["params"]
        try:
            if method == "open":
                worker, result = opened(params), {}
            else:
                result = getattr(worker, method)(**params)
            _send(replies, {"result": result})
        except Exception as error:  # a backend may raise anything: it is reported, not handled
            _send(replies, {"error": f"{_one_line(error)}{_place(error)}", "lost": _lost(worker)})


def main(argv: Sequence[str], opened: Opened = open_worker) -> None:
    """Serve on the descriptors named in `argv`, dying with the parent, within a memory limit."""
    read_fd, write_fd, memory_bytes = (int(word) for word in argv)
    _die_with_parent()
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.disable()
    with os.fdopen(read_fd, "r") as requests, os.fdopen(write_fd, "w") as replies:
        serve(requests, replies, opened)


def _lost(worker: Served | None) -> bool:
    """Whether an error left the process beyond use; so it is too if even that cannot be asked."""
    try:
        return worker is not None and worker.lost() is not None
    except Exception:
        return True


def _optional(backend: Backend | None, method: str, default: Any) -> Any:
    found = getattr(backend, method, None)
    return default if found is None else found()


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _reason(text: object) -> str | None:
    """One printable line of a backend's reason; None if it gave none."""
    return None if text is None else (_printable(str(text)) or "it gave no reason")


def _one_line(error: Exception) -> str:
    text = _printable(str(error))
    if isinstance(error, GemmbenchError):
        return text
    if isinstance(error, MemoryError):
        return f"out of memory: {text or 'an allocation was refused'}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(error: Exception) -> str:
    """' (kernel.py:12 in run)': where a backend raised; '' for what gemmbench itself refuses."""
    if isinstance(error, GemmbenchError):
        return ""
    if isinstance(error, SyntaxError) and error.filename:
        return ""  # its own text names the file and the line
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f" ({Path(frame.filename).name}:{frame.lineno} in {frame.name})"


def _printable(text: str) -> str:
    """`text` as one line of at most `REASON_LENGTH` characters that every encoding can carry."""
    line = " ".join(text[: 4 * REASON_LENGTH].encode("utf-8", "replace").decode().split())
    return line if len(line) <= REASON_LENGTH else line[: REASON_LENGTH - 1] + "…"


def _send(replies: Any, message: Json) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies, stopped or not (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
