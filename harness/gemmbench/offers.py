"""What backends offer for a problem, each asked in a process of its own, if it does not break."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gemmbench.backend import PER_IMAGE, locate_backend
from gemmbench.errors import GemmbenchError, did_you_mean
from gemmbench.link import Link, RequestError, WorkerLostError, location_data
from gemmbench.machine import Machine, machine_to_data
from gemmbench.problem import Problem, problem_to_data
from gemmbench.race import Limits
from gemmbench.run_options import RunOptions
from gemmbench.space import SearchSpace, space_from_data
from gemmbench.trial import Contender, RaceProtocol, TrialState

Question = tuple[str, Problem]  # to a backend, by its spec: what it can do with a problem
Described = dict[Question, dict[str, Any]]


class NoOfferError(Exception):
    """A backend takes no part: `state` says whether it declined or broke, `lost` how badly."""

    def __init__(self, state: TrialState, reason: str, *, lost: bool = False) -> None:
        super().__init__(reason)
        self.state = state
        self.lost = lost  # its process crashed or hung, rather than raised


@dataclass(frozen=True, slots=True)
class Offer:
    """One way that a backend computes a problem, with what can be tuned in it."""

    contender: Contender
    space: SearchSpace | None
    source_hash: str


@dataclass(frozen=True, slots=True)
class Offered:
    """What a backend offers of what was asked for, and why it declined the rest, by algorithm."""

    offers: tuple[Offer, ...]
    declined: Mapping[str, str]


@dataclass(slots=True)
class Offers:
    """Asks backends for what `options` want; whoever breaks is not asked again.

    `described` is what some have said already.
    """

    options: RunOptions
    protocol: RaceProtocol
    machine: Machine
    described: Described = field(default_factory=dict)
    broken: dict[str, NoOfferError] = field(default_factory=dict)  # specs that cannot be asked

    def of(self, spec: str, problem: Problem, limits: Limits) -> Offered:
        """What the backend says it can do with `problem`. Raises NoOfferError with the reason."""
        reply = self.ask(spec, problem, limits)
        reasons = reply.get("declined", {})
        declined = {a: why for a, why in reasons.items() if self.options.tells(a)}
        offers = tuple(
            offer
            for data in reply["offers"]
            if self.wants(offer := self.offer(spec, data, reply["source_hash"]))
        )
        if not offers:
            named = [why for a, why in declined.items() if a in self.options.algorithms]
            why = "; ".join(named) or self.nothing_wanted(reply["offers"])
            raise NoOfferError(TrialState.SKIPPED, why)
        return Offered(offers, declined)

    def nothing_wanted(self, offers: Sequence[Mapping[str, Any]]) -> str:
        """Why none of the offers of a reply takes part: not asked for, or nothing to tune."""
        ways = [(offer["algorithm"], offer["weights"]) for offer in offers]
        fixed = [f"{a} {weights}" for a, weights in ways if self.options.wants(a, weights)]
        if fixed:  # they were asked for, so it is for want of a space that they take no part
            return f"nothing to tune: no search space for {', '.join(fixed)}"
        return f"offers only {', '.join(f'{a} {weights}' for a, weights in ways) or 'nothing'}"

    def ask(self, spec: str, problem: Problem, limits: Limits) -> dict[str, Any]:
        """The reply of a backend that can take part. Raises NoOfferError where it cannot."""
        if spec in self.broken:
            raise self.broken[spec]
        try:
            reply = self.described.pop((spec, problem), None) or describe(
                spec, problem, self.protocol.threads, self.machine, limits, self.options.lowerings
            )
        except NoOfferError as error:
            if error.lost:
                self.broken[spec] = error  # do not crash or hang again on every layer
            raise
        reason = reply["unavailable"] or reply["unsupported"]
        if reason is not None:
            refusal = NoOfferError(TrialState.SKIPPED, reason)
            if reply["unavailable"] is not None:
                self.broken[spec] = refusal  # nor will it be there for the next layer
            raise refusal
        return reply

    def offer(self, spec: str, data: Mapping[str, Any], source_hash: str) -> Offer:
        """One of the offers of a reply, with its default config."""
        space = self.options.space or (space_from_data(data["space"]) if data["space"] else None)
        config = dict(space.default) if space else {}
        contender = Contender(spec, data["algorithm"], data["weights"], config)
        return Offer(contender, space, source_hash)

    def wants(self, offer: Offer) -> bool:
        """Whether it is among what was asked for; to tune, it needs something to be tuned."""
        one = offer.contender
        tunable = offer.space is not None or self.options.tune != "more"
        return tunable and self.options.wants(one.algorithm, one.weights)


def describe(
    spec: str,
    problem: Problem,
    threads: int,
    machine: Machine,
    limits: Limits,
    lowerings: Sequence[str] = (PER_IMAGE,),
) -> dict[str, Any]:
    """What the backend `spec` says of itself and `problem`, from a process of its own.

    Raises NoOfferError if importing or asking it fails.
    """
    location = locate_backend(spec)
    with Link(
        location,
        problem,
        threads=threads,
        timeout=limits.timeout,
        memory_bytes=limits.memory_bytes,
    ) as link:
        try:
            return link.ask(
                "describe",
                location=location_data(location),
                machine=machine_to_data(machine),
                threads=threads,
                offers=True,
                lowering=list(lowerings),
            )
        except (RequestError, WorkerLostError) as error:
            lost = isinstance(error, WorkerLostError)
            raise NoOfferError(TrialState.FAILED, str(error), lost=lost) from error


def algorithms_of(
    spec: str, problems: Sequence[Problem], threads: int, limits: Limits
) -> list[list[str]]:
    """The algorithms that the backend `spec` offers for each of `problems`, from one process.

    An empty list for what it does not compute. Raises NoOfferError if importing or asking it fails.
    """
    location = locate_backend(spec)
    with Link(
        location,
        problems[0],
        threads=threads,
        timeout=limits.timeout,
        memory_bytes=limits.memory_bytes,
    ) as link:
        asked = [problem_to_data(problem) for problem in problems]
        try:
            reply = link.ask("ways", location=location_data(location), problems=asked)
        except (RequestError, WorkerLostError) as error:
            lost = isinstance(error, WorkerLostError)
            raise NoOfferError(TrialState.FAILED, str(error), lost=lost) from error
    ways: list[list[str]] = reply["ways"]
    return ways


def ask_backends(
    questions: Iterable[Question], options: RunOptions, protocol: RaceProtocol, machine: Machine
) -> Iterator[tuple[Question, dict[str, Any] | NoOfferError]]:
    """What each backend says of its problem, one after another, or how it broke."""
    limits = Limits(0, options.timeout, options.memory_bytes)
    for spec, problem in questions:
        locate_backend(spec)
        try:
            reply = describe(spec, problem, protocol.threads, machine, limits, options.lowerings)
        except NoOfferError as error:
            yield (spec, problem), error
        else:
            yield (spec, problem), reply


def check_backends(
    problems: Sequence[Problem], options: RunOptions, protocol: RaceProtocol, machine: Machine
) -> Described:
    """What the backends asked for by name say of the first problem, unless they break.

    Where algorithms are asked for, every backend is asked about the first problem of each kind.
    Raises GemmbenchError if a backend is unknown or unavailable, or nobody offers an algorithm.
    """
    questions = {(spec, problems[0]) for spec in options.backends}
    if options.algorithms:
        questions |= set(_about_each_kind(problems, options))
    described: Described = {}
    asked = sorted(questions, key=str)
    for (spec, problem), reply in ask_backends(asked, options, protocol, machine):
        if isinstance(reply, NoOfferError):
            if reply.lost or spec not in options.backends:
                continue  # it crashed or hung: that is a result, and the run records it
            raise GemmbenchError(f"backend {spec!r} cannot be used: {reply}") from reply
        if reply["unavailable"] is not None and spec in options.backends:
            raise GemmbenchError(
                f"backend {spec!r} is unavailable: {reply['unavailable'].rstrip('.')}. "
                "Run 'gemmbench backends' to see which are usable."
            )
        described[spec, problem] = reply
    _check_offered(options.algorithms, described.values())
    return described


def check_space(
    problems: Iterable[Problem],
    options: RunOptions,
    protocol: RaceProtocol,
    machine: Machine,
    described: Described,
) -> Described:
    """`described`, and what the backend says of every problem that the given space is for.

    Raises GemmbenchError if the space lacks an axis of an own space that it would replace: without
    a value for each of its own axes a kernel has no config. Who breaks tells the run how.
    """
    if options.space is None:
        return described
    limits = Limits(0, options.timeout, options.memory_bytes)
    found = dict(described)
    for spec, problem in dict.fromkeys((s, p) for s in options.backends for p in problems):
        if (spec, problem) not in found:
            try:
                found[spec, problem] = describe(
                    spec, problem, protocol.threads, machine, limits, options.lowerings
                )
            except NoOfferError:
                return found
        for offer in found[spec, problem]["offers"]:
            if offer["space"] and options.wants(offer["algorithm"], offer["weights"]):
                _check_axes(options.space, spec, offer)
    return found


def _check_axes(given: SearchSpace, spec: str, offer: Mapping[str, Any]) -> None:
    has = [axis.name for axis in given.axes]
    lacks = [name for name, *_ in offer["space"]["axes"] if name not in has]
    if lacks:
        raise GemmbenchError(
            f"--space: got the axes {', '.join(has)}, but {spec} {offer['algorithm']} "
            f"{offer['weights']} also needs {', '.join(lacks)}. Add them (--dry-run without "
            "--space prints its own), or choose others with --only and --algorithm."
        )


def known_algorithms(replies: Iterable[Mapping[str, Any]]) -> set[str]:
    """The algorithms that the backends behind `replies` offer or, for this problem, decline."""
    replies = list(replies)
    offered = {offer["algorithm"] for reply in replies for offer in reply["offers"]}
    return offered | {name for reply in replies for name in reply.get("declined", ())}


def _about_each_kind(problems: Sequence[Problem], options: RunOptions) -> list[Question]:
    """Every backend with the first problem of each kind."""
    firsts = {problem.kind: problem for problem in reversed(problems)}.values()
    return [(spec, problem) for spec in options.specs() for problem in firsts]


def _check_offered(algorithms: Sequence[str], replies: Iterable[Mapping[str, Any]]) -> None:
    known = known_algorithms(replies)
    for algorithm in algorithms:
        if algorithm not in known:
            raise GemmbenchError(
                f"--algorithm: no backend offers {algorithm!r} here."
                f"{did_you_mean(algorithm, known)}"
            )
