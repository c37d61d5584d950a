"""The process that runs a forward pass: every layer in memory of its own, one after another.

Started by `link.py` as a worker is, and spoken to alike. Each layer writes an aligned buffer that
the layers reading it are prepared on, so a pass moves no data but what the layers move. A layer
that only changes elements writes over what it reads where nobody else does, as in Caffe.
"""

import gc
import importlib
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gemmbench.backend import Backend, Location, Prepared, load_backend, prepared_by
from gemmbench.cheap import Cheap
from gemmbench.errors import GemmbenchError
from gemmbench.network_graph import Network, Node, factors, network_of, node_from_data
from gemmbench.operands import Array, aligned_empty, guarded_output, map_operands
from gemmbench.operands import GuardedOutput as Guarded
from gemmbench.problem import Linear, Problem
from gemmbench.serving import main
from gemmbench.timing import synchronize

Json = dict[str, Any]
Run = Callable[[], object]


@dataclass(slots=True)
class NetworkWorker:
    """A network under test. Methods are the requests, in the order in which they make sense."""

    network: Network | None = None
    cheap: Any = None  # what computes cheap layers: see backends/gemmbench_backends/cheap_layers.py
    weights: dict[str, dict[str, Array]] = field(default_factory=dict)
    given: Array = field(default_factory=lambda: np.empty(0))  # the network's input
    buffers: dict[str, Array] = field(default_factory=dict)  # of each layer, as it was made
    guards: dict[str, Guarded] = field(default_factory=dict)  # of those that products write
    runs: dict[str, Run] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    prepared: dict[str, Prepared] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)  # layers that answer in memory of their own

    def lay_out(self, nodes: list[Json], cheap: Json, weights: Json) -> Json:
        """Make a buffer for each layer, and copy the weights into memory of the pass's own."""
        network = self.network = network_of([node_from_data(data) for data in nodes])
        at = Location(**cheap)
        self.cheap = getattr(importlib.import_module(at.module), at.attribute)()
        self.given = aligned_empty(network.input_shape, network.dtype)
        for name, paths in weights.items():
            self.weights[name] = {key: _copied(one) for key, one in map_operands(paths).items()}
        for node in network.nodes:
            self._buffer(network, node)
        return {"bytes": sum(one.nbytes for one in self.buffers.values())}

    def feed(self, given: str) -> Json:
        """Copy the array in the file `given` into the network's input."""
        np.copyto(self.given, np.load(given, mmap_mode="r"))
        return {}

    def prepare(
        self,
        layer: str,
        location: Json | None = None,
        config: Json | None = None,
        fetches: bool = False,
    ) -> Json:
        """Make a layer ready: a product by the backend at `location`, else compiled.

        `fetches`: it is known to answer in memory of its own.
        """
        node = self._network().node(layer)
        if isinstance(node.operation, Cheap):
            inputs, learnt = self._inputs(node), self.weights.get(layer, {})
            made = self.cheap.prepare(node.operation, inputs, self.buffers[layer], learnt)
            self.runs[layer] = made
            return {}
        backend = self._backend(Location(**(location or {})))
        prepared = prepared_by(backend, node.operation, config or {}, self._operands(node))
        if hasattr(prepared, "load") or hasattr(prepared, "clock"):
            raise GemmbenchError(f"{backend.name} computes on a device; a pass runs on the host.")
        self.prepared[layer], self.runs[layer] = prepared, on_its_threads(prepared.run)
        if fetches:
            self._fetch(layer)
        return {
            "growth": float(getattr(prepared, "error_growth", 1.0)),
            "workspace_bytes": int(getattr(prepared, "workspace_bytes", 0) or 0),
        }

    def step(self, layer: str, to: str, poison: bool) -> Json:
        """Run one layer and keep what it wrote in the file `to`.

        With `poison` its output is cleared first, so that doing nothing is wrong.
        """
        node = self._network().node(layer)
        inputs = self._inputs(node)
        before = [one.copy() for one in inputs] if layer in self.prepared else []
        if poison and not self._network().overwrites(node):
            self.buffers[layer].fill(np.nan)
        self.runs[layer]()
        if layer in self.prepared:
            self._settle(layer, poison)
        np.save(to, self.buffers[layer])
        objection = None
        if layer in self.guards and self.guards[layer].overrun():
            objection = "wrote outside its output"
        elif not all(np.array_equal(a, b) for a, b in zip(before, inputs, strict=False)):
            objection = "changed its input"
        return {"objection": objection, "own": layer in self.own}

    def passes(self, count: int) -> Json:
        """Nanoseconds of `count` passes: of each as a whole, and of each of its layers.

        After one untimed pass. The whole is read outside of the layers' stamps.
        """
        runs = [self.runs[node.name] for node in self._network().nodes]
        gc.freeze()  # what was imported and prepared is no garbage
        for run in runs:
            run()
        clock = time.perf_counter_ns
        wholes, layers = [], []
        for _ in range(count):
            stamps = []
            began = clock()
            stamps.append(clock())
            for run in runs:
                run()
                stamps.append(clock())
            wholes.append(clock() - began)
            layers.append(np.diff(stamps).tolist())
        return {"wholes": wholes, "layers": layers}

    def alone(self, layer: str, seconds: float, most: int) -> Json:
        """Median nanoseconds of a layer called over and over, for about that long."""
        run, clock = self.runs[layer], time.perf_counter_ns
        run()
        taken: list[int] = []
        deadline = clock() + int(seconds * 1e9)
        while len(taken) < most and (not taken or clock() < deadline):
            began = clock()
            run()
            taken.append(clock() - began)
        return {"nanoseconds": float(np.median(taken)), "calls": len(taken)}

    def keep(self, folder: str) -> Json:
        """Save what the last pass left in the buffers that no layer wrote over since."""
        network, paths = self._network(), {}
        gone = {node.reads[0] for node in network.nodes if network.overwrites(node)}
        for position, node in enumerate(network.nodes):
            if node.name not in gone:
                path = Path(folder) / f"left-{position}.npy"
                np.save(path, self.buffers[node.name])
                paths[node.name] = str(path)
        return {"paths": paths}

    def lost(self) -> str | None:
        """None: an error leaves the process as it was."""
        return None

    def _network(self) -> Network:
        if self.network is None:
            raise GemmbenchError("the network was not laid out.")
        return self.network

    def _backend(self, at: Location) -> Backend:
        if at.key not in self.backends:
            backend = load_backend(at)
            reason = backend.unavailable()
            if reason is not None:
                raise GemmbenchError(f"backend {backend.name!r} is unavailable: {reason}")
            self.backends[at.key] = backend
        return self.backends[at.key]

    def _buffer(self, network: Network, node: Node) -> None:
        if network.overwrites(node):
            self.buffers[node.name] = self.buffers[node.reads[0]]
        elif isinstance(node.operation, Problem):
            self.guards[node.name] = guarded_output(node.operation)
            self.buffers[node.name] = self.guards[node.name].array
        else:
            self.buffers[node.name] = aligned_empty(network.shapes[node.name], network.dtype)

    def _inputs(self, node: Node) -> list[Array]:
        return [self.buffers[name] for name in node.reads] or [self.given]

    def _operands(self, node: Node) -> dict[str, Array]:
        """The operands of a product: the buffer it reads, its weights, the buffer it writes."""
        problem = node.operation
        assert isinstance(problem, Problem)  # noqa: S101 - cheap layers are prepared elsewhere
        (x,) = self._inputs(node)
        rows = x.reshape(x.shape[0], -1) if isinstance(problem, Linear) else x
        out = self.buffers[node.name]
        return {factors(problem)[0]: rows, **self.weights[node.name], "out": out}

    def _settle(self, layer: str, poisoned: bool) -> None:
        """Wait for the call to end; one that answers in memory of its own is copied from there.

        That copy is then part of every call, since the next layer reads the buffer.
        """
        prepared, out = self.prepared[layer], self.buffers[layer]
        synchronize(prepared)
        if layer in self.own or not (poisoned and np.isnan(out).any()):
            return
        answer = np.asarray(prepared.output())
        if np.may_share_memory(answer, out):
            return  # nobody wrote it: the check will say so
        np.copyto(out, answer)
        self._fetch(layer)

    def _fetch(self, layer: str) -> None:
        """From now on each call copies the answer to the buffer."""
        prepared, out, run = self.prepared[layer], self.buffers[layer], self.runs[layer]
        self.own.add(layer)

        def fetched() -> None:
            run()
            np.copyto(out, prepared.output())

        self.runs[layer] = fetched


def on_its_threads(run: Run) -> Run:
    """`run` with each BLAS of this process on as many threads as it has now, once prepared.

    A BLAS has one count for the whole process, and layers share it: what is prepared last would
    set it for all, two threads for a layer whose own threads each call BLAS, or one for a product.
    """
    from threadpoolctl import ThreadpoolController

    pools = ThreadpoolController().lib_controllers
    counts = [(pool, pool.num_threads) for pool in pools if pool.user_api == "blas"]

    def running() -> None:
        for pool, threads in counts:
            pool.set_num_threads(threads)  # a call into the library, a microsecond
        run()

    return running if counts else run


def _copied(array: Array) -> Array:
    fresh = aligned_empty(array.shape, str(array.dtype))
    np.copyto(fresh, array)
    return fresh


def open_network(_: Mapping[str, Any]) -> NetworkWorker:
    """An empty worker: the network comes with `lay_out`."""
    return NetworkWorker()


if __name__ == "__main__":
    main(sys.argv[1:], open_network)
