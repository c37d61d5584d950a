"""What base and head both offer on a layer, and with which config each side runs it.

By default both sides run the same config, so that "the same tiles got slower" is never mixed with
"the best tiles changed"; the latter is told as an event of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemmbench.backend import locate_backend
from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.link import Link, RequestError, WorkerLostError, location_data
from gemmbench.machine import Machine, machine_to_data
from gemmbench.offers import known_algorithms
from gemmbench.problem import Problem, problem_to_data
from gemmbench.sides import Duo, Side
from gemmbench.space import Config, SearchSpace, space_from_data
from gemmbench.suite import Layer, Suite
from gemmbench.trial import Contender, TrialState

Winner = Callable[[Problem, Contender, str], Config | None]
"""The stored winner of a problem for a contender's kernel with that source hash."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a layer is not compared: what a side said or did when it was asked, or in a pair."""

    layer: str
    backend: str
    side: str  # "base" or "head"
    state: TrialState
    reason: str


@dataclass(frozen=True, slots=True)
class Way:
    """One comparison to be made: a layer, and one way of computing it on both sides."""

    suite: Suite
    layer: Layer
    duo: Duo
    base: Contender
    head: Contender
    label: str  # of the backend, in reports
    identity: tuple[str, ...]  # the sources and libraries on both sides
    events: tuple[str, ...] = ()  # tiles that changed


@dataclass(frozen=True, slots=True)
class Alone:
    """One way of computing a layer for which there is no base: head is verified, not compared."""

    suite: Suite
    layer: Layer
    duo: Duo
    head: Contender
    label: str  # of the backend, in reports


Found = Way | Alone | Refusal


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of a backend's algorithms and weights the user asked for; () is all of them."""

    algorithms: tuple[str, ...] = ()
    weights: tuple[str, ...] = ("plain",)

    def includes(self, offer: dict[str, Any]) -> bool:
        """Whether `offer` is one of them."""
        named = not self.algorithms or offer["algorithm"] in self.algorithms
        return named and offer["weights"] in self.weights


class Asker:
    """Asks one side about problem after problem, in one process while that lives."""

    def __init__(
        self, side: Side, machine: Machine, threads: int, timeout: float, memory_bytes: int
    ) -> None:
        self._side = side
        self._machine = machine
        self._threads = threads
        self._timeout = timeout
        self._memory_bytes = memory_bytes
        self._link: Link | None = None

    def ask(self, problem: Problem) -> dict[str, Any]:
        """What the side says of itself and `problem`. Raises RequestError, WorkerLostError."""
        location = locate_backend(self._side.located)
        if self._link is None:
            self._link = Link(
                location,
                problem,
                threads=self._threads,
                timeout=self._timeout,
                memory_bytes=self._memory_bytes,
                environment=self._side.environment,
            )
        try:
            self._link.ask("open", problem=problem_to_data(problem))
            return self._link.ask(
                "describe",
                location=location_data(location),
                machine=machine_to_data(self._machine),
                threads=self._threads,
                offers=True,
            )
        except WorkerLostError:
            self.close()
            raise

    def close(self) -> None:
        """End the process."""
        if self._link is not None:
            self._link.close()
            self._link = None


Ask = Callable[[Side, Problem], dict[str, Any]]


def find_ways(
    suites: Sequence[Suite], duos: Sequence[Duo], wanted: Wanted, ask: Ask, winner: Winner
) -> Iterator[Found]:
    """Every comparison to be made, and every one that cannot be, with what head does alone then.

    Raises GemmbenchError for a backend that is unavailable on either side and, at the end, for an
    algorithm that neither offers on any layer.
    """
    known: set[str] = set()
    for duo in duos:
        for suite in suites:
            for layer in suite.layers:
                yield from _ways(suite, layer, duo, wanted, ask, winner, known)
    for algorithm in wanted.algorithms:
        if known and algorithm not in known:
            raise GemmbenchError(
                f"--algorithm: neither side offers {algorithm!r} on these layers."
                f"{did_you_mean(algorithm, known)}"
            )


def _ways(
    suite: Suite,
    layer: Layer,
    duo: Duo,
    wanted: Wanted,
    ask: Ask,
    winner: Winner,
    known: set[str],
) -> Iterator[Found]:
    """What can be done on one layer; the algorithms that a side has are added to `known`."""
    heads = _reply(layer, duo.head, "head", ask, known)
    if isinstance(heads, Refusal):
        yield heads
        return
    bases = _base_reply(layer, duo, ask, known)
    if isinstance(bases, Refusal):
        yield from _without_base(suite, layer, duo, heads, bases, wanted, winner)
        return
    pairs = _matched(bases, heads, wanted)
    if not pairs:
        reason = "base and head offer no algorithm in common that was asked for"
        yield Refusal(layer.name, duo.head.spec, "head", TrialState.SKIPPED, reason)
    for base, head in pairs:
        sides = _Offered(bases, base), _Offered(heads, head)
        yield _way(suite, layer, duo, sides, winner, alone=len(pairs) == 1)


def _reply(
    layer: Layer, side: Side, name: str, ask: Ask, known: set[str]
) -> dict[str, Any] | Refusal:
    """What a side says of a layer, or why it does not compute it.

    Raises GemmbenchError for a backend that is unavailable.
    """
    try:
        reply = ask(side, layer.problem)
    except (RequestError, WorkerLostError) as error:
        return Refusal(layer.name, side.spec, name, TrialState.FAILED, str(error))
    known |= known_algorithms([reply])
    if reply["unavailable"] is not None:
        raise GemmbenchError(
            f"backend {side.spec!r} is unavailable on the side of {side.label}: "
            f"{reply['unavailable'].rstrip('.')}. Run 'gemmbench backends'."
        )
    if reply["unsupported"] is not None:
        reason = str(reply["unsupported"])
        return Refusal(layer.name, side.spec, name, TrialState.SKIPPED, reason)
    return reply


def _base_reply(layer: Layer, duo: Duo, ask: Ask, known: set[str]) -> dict[str, Any] | Refusal:
    """What base says of a layer, or why there is no base."""
    if duo.missing:
        return Refusal(layer.name, duo.head.spec, "base", TrialState.SKIPPED, duo.missing)
    reply = _reply(layer, duo.base, "base", ask, known)
    elsewhere = "" if isinstance(reply, Refusal) else _elsewhere(duo.base, reply)
    if elsewhere:
        return Refusal(layer.name, duo.base.spec, "base", TrialState.SKIPPED, elsewhere)
    return reply


def _without_base(
    suite: Suite,
    layer: Layer,
    duo: Duo,
    reply: dict[str, Any],
    missing: Refusal,
    wanted: Wanted,
    winner: Winner,
) -> Iterator[Alone | Refusal]:
    """Why there is no base, and the ways of head, each to be verified: first comes correctness."""
    offers = [_Offered(reply, offer) for offer in reply["offers"] if wanted.includes(offer)]
    if not offers:
        reason = "head offers no algorithm that was asked for"
        yield Refusal(layer.name, duo.head.spec, "head", TrialState.SKIPPED, reason)
        return
    yield missing
    for offered in offers:
        own = offered.contender(duo.head.spec)
        best = winner(layer.problem, own, reply["source_hash"])
        config = best if best is not None and _runs(offered, best) else own.config
        head = Contender(
            duo.head.located, own.algorithm, own.weights, dict(config), duo.head.environment
        )
        label = duo.head.spec if len(offers) == 1 else own.label()
        yield Alone(suite, layer, duo, head, label)


def _elsewhere(base: Side, reply: dict[str, Any]) -> str:
    """Why what base imported is not base's code; '' if it is, or an old worker does not say.

    An installed package may stand in for one that the revision lacks: it would be compared with
    itself, and always pass.
    """
    file = reply.get("file", "")
    if not base.folder or not file or Path(file).is_relative_to(base.folder):
        return ""
    return f"at {base.label} there is no such module: what is imported is {file}"


def _sources(duo: Duo, replies: tuple[dict[str, Any], dict[str, Any]]) -> Iterator[str]:
    """What a reader should know of where the code of two revisions is from."""
    if not duo.tree:
        return
    if replies[0]["source_hash"] == replies[1]["source_hash"]:
        yield (
            f"{duo.head.spec}: its own source is the same on both sides; only what it imports "
            "can differ"
        )
    if duo.base.folder and not replies[0].get("file"):
        yield f"{duo.base.spec}: base does not say which file it imported, so that is not checked"


@dataclass(frozen=True, slots=True)
class _Offered:
    """One way of computing, as one side offers it."""

    reply: dict[str, Any]
    offer: dict[str, Any]

    def space(self) -> SearchSpace | None:
        return space_from_data(self.offer["space"]) if self.offer["space"] else None

    def contender(self, spec: str) -> Contender:
        space = self.space()
        default = dict(space.default) if space is not None else {}
        return Contender(spec, self.offer["algorithm"], self.offer["weights"], default)


def _matched(
    base: dict[str, Any], head: dict[str, Any], wanted: Wanted
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Offers of the same algorithm and weights; where none are the same, the first of each."""
    first, second = ([o for o in reply["offers"] if wanted.includes(o)] for reply in (base, head))
    same = [
        (b, h)
        for b in first
        for h in second
        if (b["algorithm"], b["weights"]) == (h["algorithm"], h["weights"])
    ]
    return same or list(zip(first[:1], second[:1], strict=False))


def _way(
    suite: Suite,
    layer: Layer,
    duo: Duo,
    offered: tuple[_Offered, _Offered],
    winner: Winner,
    *,
    alone: bool,
) -> Way:
    base, head = offered
    sides = (base.contender(duo.base.spec), head.contender(duo.head.spec))
    hashes = (base.reply["source_hash"], head.reply["source_hash"])
    best = [winner(layer.problem, s, h) for s, h in zip(sides, hashes, strict=True)]
    known = [b if _runs(o, b) else None for o, b in zip(offered, best, strict=True)]
    own = [k if k is not None else s.config for k, s in zip(known, sides, strict=True)]
    label = duo.head.spec if alone else sides[1].label()
    events = list(_sources(duo, (base.reply, head.reply)))
    if duo.base.spec == duo.head.spec:
        events += _changes(f"{layer.name}, {label}", sides, known)
        if _runs(head, own[0]):
            own[1] = own[0]
        elif own[0] != own[1]:
            events.append(
                f"{layer.name}, {label}: head cannot run base's tiles {_shown(own[0])}, "
                f"so it runs its own, {_shown(own[1])}"
            )
    made = [
        Contender(
            side.located,
            one.algorithm,
            one.weights,
            dict(config),
            side.environment,
            config in known,
        )
        for side, one, config in zip((duo.base, duo.head), sides, own, strict=True)
    ]
    libraries = (base.reply["library"], head.reply["library"])
    return Way(suite, layer, duo, made[0], made[1], label, (*hashes, *libraries), tuple(events))


def _runs(offered: _Offered, config: Config | None) -> bool:
    """Whether a side has `config` in its space; where nothing is tuned, only the empty one."""
    if config is None:
        return False
    space = offered.space()
    return config in space if space is not None else not config


def _changes(
    where: str, sides: Sequence[Contender], known: Sequence[Config | None]
) -> Iterator[str]:
    """Tiles that changed between base and head, one line each."""
    defaults = [side.config for side in sides]
    if defaults[0] != defaults[1]:
        yield (
            f"{where}: the default tiles changed from {_shown(defaults[0])} to "
            f"{_shown(defaults[1])}; both sides ran the same ones where head can"
        )
    base, head = known
    if base is not None and head is not None and base != head:
        yield f"{where}: the best tiles changed from {_shown(base)} to {_shown(head)}"


def _shown(config: Config) -> str:
    return " ".join(f"{name}={value}" for name, value in config.items()) or "(none)"
