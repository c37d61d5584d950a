"""The passes of one network: prepared, checked and timed in one fresh process after another.

Before anything is timed each layer is checked on what it received and against a float64 pass; after
the last pass what it left in the buffers is compared with what was checked, and the pass is checked
again on another input. More processes repeat the timing alone.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gemmbench.backend import locate_backend
from gemmbench.link import Link, RequestError, WorkerLostError, location_data
from gemmbench.measurement import Measurement, Sample
from gemmbench.network_choice import Chosen
from gemmbench.network_data import Weights, save_inputs, save_weights
from gemmbench.network_graph import Network, Node, node_to_data
from gemmbench.network_reference import LayerCheck, Made, PassCheck
from gemmbench.operands import map_operands
from gemmbench.problem import Problem
from gemmbench.race import full_config
from gemmbench.run_options import RunOptions
from gemmbench.run_outcome import Watcher
from gemmbench.trial import RaceProtocol, TrialState, readable

WORKER = "gemmbench.network_worker"
CHUNK_SECONDS = 1.0  # of passes that are asked for at once: a long way below any time limit
ALONE_SECONDS = 0.03  # that a layer is called over and over, to see what it takes with hot caches
ALONE_CALLS = 20


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """What the user asked for. `cheap` names what computes cheap layers, as 'module:Class'."""

    run: RunOptions  # how layers are raced that no stored race decides
    cheap: str
    iterations: int = 50  # passes that are timed, shared among the processes
    processes: int = 3


@dataclass(frozen=True, slots=True)
class Failure:
    """What ended a pass. `layer` is "" where it is not known which one was at fault."""

    layer: str
    state: TrialState
    reason: str


@dataclass(frozen=True, slots=True)
class LayerResult:
    """A layer of a pass: who computed it, its times within the passes, and how exact it was."""

    node: Node
    chosen: Chosen | None  # None for a cheap layer
    measurement: Measurement  # one sample a pass
    alone_seconds: float | None  # a call, called over and over in the same process
    check: LayerCheck | None


class PassError(Exception):
    """A pass ended early."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


@dataclass(slots=True)
class Course:
    """The passes of one network in one process after another, and what they gave."""

    network: Network
    chosen: Mapping[Problem, Chosen]
    options: NetworkOptions
    protocol: RaceProtocol
    folder: Path
    watcher: Watcher
    weights: Weights = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    made: dict[str, Made] = field(default_factory=dict)
    fetched: set[str] = field(default_factory=set)  # layers that answer in memory of their own
    checks: dict[str, LayerCheck] = field(default_factory=dict)
    passes: list[Sample] = field(default_factory=list)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    alone: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        """Everything. Raises PassError where a layer is wrong or breaks."""
        self.watcher.step("making weights")
        self.weights = save_weights(self.network, self.folder, self.protocol.seed)
        self.inputs = save_inputs(self.network, self.folder, self.protocol.seed)
        processes = min(self.options.processes, self.options.iterations)
        shares = np.array_split(np.arange(self.options.iterations), processes)
        for process, share in enumerate(shares):
            with self.link() as link:
                self.make_ready(link)
                if process == 0:
                    self.checked_pass(link, 0)
                self.watcher.step(f"passes (process {process + 1} of {processes})")
                self.time_passes(link, process, len(share))
                self.compare_left(link)
                if process == 0:
                    self.time_alone(link)
                    self.checked_pass(link, 1)

    def layers(self) -> tuple[LayerResult, ...]:
        """The layers in their order, once everything was run."""
        return tuple(
            LayerResult(
                node,
                self.chosen.get(node.operation) if isinstance(node.operation, Problem) else None,
                Measurement(tuple(self.samples[node.name])),
                self.alone.get(node.name),
                self.checks.get(node.name),
            )
            for node in self.network.nodes
        )

    @contextmanager
    def link(self) -> Iterator[Link]:
        """A fresh process for passes."""
        run = self.options.run
        with Link(
            locate_backend(self.options.cheap),
            None,
            threads=self.protocol.threads,
            timeout=run.timeout,
            memory_bytes=run.memory_bytes,
            module=WORKER,
        ) as link:
            yield link

    def make_ready(self, link: Link) -> None:
        """Lay the network out in a process and prepare every layer there."""
        nodes = [node_to_data(node) for node in self.network.nodes]
        cheap = location_data(locate_backend(self.options.cheap))
        self.ask(link, "", "lay_out", nodes=nodes, cheap=cheap, weights=self.weights)
        self.ask(link, "", "feed", given=self.inputs[0])
        for position, node in enumerate(self.network.nodes):
            self.watcher.layer("preparing", node.name, position, len(self.network.nodes))
            params: dict[str, Any] = {}
            if isinstance(node.operation, Problem):
                contender = self.chosen[node.operation].contender
                params["location"] = location_data(locate_backend(contender.backend))
                params["config"] = full_config(contender, self.protocol.threads)
                params["fetches"] = node.name in self.fetched
            reply = self.ask(link, node.name, "prepare", layer=node.name, **params)
            if isinstance(node.operation, Problem):
                algorithm = self.chosen[node.operation].contender.algorithm
                self.made[node.name] = Made(algorithm, reply["growth"])

    def checked_pass(self, link: Link, which: int) -> None:
        """Run layer by layer on input `which`, checking each as it ends.

        On the first input also against float64 from end to end, with outputs cleared before; on
        the second they are not, so that an answer remembered from before is wrong.
        """
        first = which == 0
        self.ask(link, "", "feed", given=self.inputs[which])
        weights = {name: map_operands(paths) for name, paths in self.weights.items()}
        given = np.load(self.inputs[which], mmap_mode="r")
        follow = PassCheck(self.network, weights, given, whole=first)
        for position, node in enumerate(self.network.nodes):
            self.watcher.layer("checking", node.name, position, len(self.network.nodes))
            to = self.folder / f"output-{which}-{position}.npy"
            reply = self.ask(link, node.name, "step", layer=node.name, to=str(to), poison=first)
            if reply["objection"]:
                raise _wrong(node, f"{self.who(node)} {reply['objection']}")
            if reply["own"]:
                self.fetched.add(node.name)
            found = follow.check(node, np.load(to, mmap_mode="r"), self.made.get(node.name, Made()))
            if found.wrong is not None:
                raise _wrong(node, f"{self.who(node)}: {found.wrong}")
            if first:
                self.checks[node.name] = found
            else:
                to.unlink()  # the mapping stays as long as it is read

    def time_passes(self, link: Link, process: int, count: int) -> None:
        """`count` passes, asked for in pieces; the first reply only tells how long one takes.

        That one reads another input, so that what is in the buffers afterwards is no right answer
        to the first: a layer that does nothing while it is timed leaves what `compare_left` finds.
        """
        self.ask(link, "", "feed", given=self.inputs[1])
        trial = self.ask(link, "", "passes", count=1)
        self.ask(link, "", "feed", given=self.inputs[0])
        at_once = max(1, int(CHUNK_SECONDS * 1e9 / trial["wholes"][0]))
        names = [node.name for node in self.network.nodes]
        done = 0
        while done < count:
            reply = self.ask(link, "", "passes", count=min(at_once, count - done))
            for whole, layers in zip(reply["wholes"], reply["layers"], strict=True):
                self.passes.append(Sample(whole * 1e-9, 1, process, done))
                for name, nanoseconds in zip(names, layers, strict=True):
                    sample = Sample(nanoseconds * 1e-9, 1, process, done)
                    self.samples.setdefault(name, []).append(sample)
                done += 1

    def compare_left(self, link: Link) -> None:
        """Whether the last timed pass left what the checked one wrote, within the same bound."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        paths = self.ask(link, "", "keep", folder=str(folder))["paths"]
        for position, node in enumerate(self.network.nodes):
            if node.name not in paths:
                continue
            left = np.load(paths[node.name], mmap_mode="r")
            checked = np.load(self.folder / f"output-0-{position}.npy", mmap_mode="r")
            limit = 2 * self.checks[node.name].absolute_bound  # either may be off by that
            Path(paths[node.name]).unlink()
            off = float(np.max(np.abs(left - checked), initial=0.0))
            if not off <= limit:
                raise _wrong(
                    node,
                    f"{self.who(node)}{self.written_over(node)}: a timed pass left another "
                    f"answer than the checked one: off by {off:.3g}, {limit:.3g} is allowed",
                )

    def time_alone(self, link: Link) -> None:
        """What each layer takes when it is called over and over, which keeps its caches hot."""
        for position, node in enumerate(self.network.nodes):
            self.watcher.layer("alone", node.name, position, len(self.network.nodes))
            reply = self.ask(
                link, node.name, "alone", layer=node.name, seconds=ALONE_SECONDS, most=ALONE_CALLS
            )
            self.alone[node.name] = reply["nanoseconds"] * 1e-9

    def ask(self, link: Link, blamed: str, method: str, /, **params: Any) -> dict[str, Any]:
        """The worker's reply. Raises PassError, blaming that layer, where it breaks."""
        try:
            return link.ask(method, **params)
        except (RequestError, WorkerLostError) as error:
            who = self.who(self.network.node(blamed)) if blamed else "in a pass"
            raise PassError(Failure(blamed, TrialState.FAILED, f"{who}: {error}")) from error

    def written_over(self, node: Node) -> str:
        """Whose answers `node` wrote over, in words: each of those may be what is wrong."""
        gone = []
        while self.network.overwrites(node):
            node = self.network.node(node.reads[0])
            gone.append(f"{self.who(node)} in {node.name!r}")
        return f" or what it wrote over ({', '.join(gone)})" if gone else ""

    def who(self, node: Node) -> str:
        """'numba winograd prepared', or the kind of a cheap layer."""
        if isinstance(node.operation, Problem):
            return readable(self.chosen[node.operation].contender.label())
        return node.operation.kind


def _wrong(node: Node, reason: str) -> PassError:
    return PassError(Failure(node.name, TrialState.WRONG, reason))
