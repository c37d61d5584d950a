"""Who computes each product of a network: the stored winner, else the winner of a short race.

All of them run in one process. A backend whose library cannot share one says so (`exclusive`), and
at most one such takes part; a device cannot, since what a pass hands on lies in the host's memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from gemmbench.backend import installed_backends, locate_backend
from gemmbench.champion import champion, seconds_of
from gemmbench.errors import GemmbenchError
from gemmbench.machine import Machine
from gemmbench.network_graph import Network
from gemmbench.offers import NoOfferError, Offers, describe
from gemmbench.problem import Problem
from gemmbench.race import Limits
from gemmbench.run import run_suites
from gemmbench.run_options import RunOptions
from gemmbench.run_outcome import Outcome, Watcher, exit_code, overrun_sentence
from gemmbench.software import Software
from gemmbench.suite import Suite
from gemmbench.trial import Contender, Environment, RaceProtocol, Recorder, Trial, TrialState

RACE_SECONDS = 4.0  # a layer that no stored race decides; preparing and verifying may take more
RACE_PROCESSES = 1  # who runs a layer has to be near the best, not proven to be the best


class Results(Recorder, Protocol):
    """A recorder that also finds earlier races."""

    def races(
        self, machine: Machine, protocol: RaceProtocol, problem: Problem
    ) -> Iterator[tuple[int, list[Trial]]]:
        """Runs that timed `problem` comparably, the newest first, each with its race trials."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who computes a product, its seconds a call when it was raced alone, and in which run."""

    contender: Contender
    seconds: float
    run: int
    library: str
    stored: bool  # found, and not raced by this command


@dataclass(slots=True)
class Choice:
    """Who computes what, by problem; or what came of the races instead."""

    chosen: dict[Problem, Chosen] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    exit_code: int = 0
    races: Outcome | None = None  # None where everything was stored


@dataclass(frozen=True, slots=True)
class Arena:
    """What choosing needs to know; `hashes` are of the backends that may take part, by spec."""

    options: RunOptions
    protocol: RaceProtocol
    machine: Machine
    results: Results
    hashes: Mapping[str, str]

    def stored(self, problem: Problem) -> tuple[Trial, int] | None:
        """The fastest way of computing `problem` that a stored race knows, with its run."""
        found = []
        for weights in self.options.weights:
            races = self.results.races(self.machine, self.protocol, problem)
            fitting = ((run, [t for t in trials if self.fits(t)]) for run, trials in races)
            best = champion(fitting, weights)
            if best is not None:
                found.append((best.trial, best.run))
        return min(found, key=lambda one: seconds_of(one[0]), default=None)

    def fits(self, trial: Trial) -> bool:
        """Whether a stored trial may take part: its backend does, unchanged, and as this process.

        Another interpreter or variables of its own cannot be had within the pass.
        """
        one, algorithms = trial.contender, self.options.algorithms
        asked = not algorithms or one.algorithm in algorithms
        own = self.hashes.get(one.backend)
        return asked and own == trial.source_hash and one.environment == Environment()


def choose(
    suite: Suite,
    network: Network,
    options: RunOptions,
    protocol: RaceProtocol,
    machine: Machine,
    results: Results,
    watcher: Watcher,
    command: str,
    software: Software | None,
) -> Choice:
    """Somebody for every product of `network`. Raises GemmbenchError where nobody computes one.

    Layers that no stored race decides are raced first, which is recorded as a run.
    """
    problems = [n.operation for n in network.nodes if isinstance(n.operation, Problem)]
    choice = Choice()
    watcher.step("asking the backends")
    hashes = usable(problems[0], options, protocol, machine, choice.notes)
    arena = Arena(options, protocol, machine, results, hashes)
    missing = [p for p in dict.fromkeys(problems) if not _take(choice, arena, p, stored=True)]
    _check_computed(suite, missing, arena)
    if missing:
        layers = tuple(next(la for la in suite.layers if la.problem == p) for p in missing)
        budget = options.budget or RACE_SECONDS * len(layers)
        choice.races = run_suites(
            [replace(suite, layers=layers, nodes=())],
            replace(options, backends=tuple(hashes), budget=budget),
            replace(protocol, processes=RACE_PROCESSES),
            machine, results, watcher, command, software,
        )  # fmt: skip
        choice.exit_code = exit_code(choice.races)
        choice.notes += filter(None, [overrun_sentence(choice.races, budget)])
        if choice.races.interrupted:
            raise KeyboardInterrupt
    for layer in suite.layers:
        if layer.problem in missing and not _take(choice, arena, layer.problem, stored=False):
            if choice.exit_code:
                return choice  # somebody was wrong or broke: that is the result
            raise GemmbenchError(
                f"{suite.origin}: layer {layer.name!r}: none of {', '.join(hashes)} computes it"
                f"{_reasons(choice.races, layer.name)}. Name another --backend."
            )
    return choice


def _check_computed(suite: Suite, missing: Sequence[Problem], arena: Arena) -> None:
    """Raise GemmbenchError, before anything is raced, where nobody computes a kind of problem."""
    offers = Offers(arena.options, arena.protocol, arena.machine)
    limits = Limits(0, arena.options.timeout, arena.options.memory_bytes)
    for problem in {problem.kind: problem for problem in reversed(missing)}.values():
        reasons = []
        for spec in arena.hashes:
            try:
                offers.of(spec, problem, limits)
            except NoOfferError as error:
                reasons.append(str(error))
        if len(reasons) == len(arena.hashes):
            layer = next(layer for layer in suite.layers if layer.problem == problem)
            raise GemmbenchError(
                f"{suite.origin}: layer {layer.name!r}: none of {', '.join(arena.hashes)} computes "
                f"it ({'; '.join(reasons)}). Name another --backend, --algorithm or --weights."
            )


def usable(
    problem: Problem,
    options: RunOptions,
    protocol: RaceProtocol,
    machine: Machine,
    notes: list[str],
) -> dict[str, str]:
    """The backends that may take part, each with the hash of its source.

    Those asked for by name must be able to, else GemmbenchError; of the installed ones whoever
    cannot is left out, with a note.
    """
    asked = options.backends
    limits = Limits(0, options.timeout, options.memory_bytes)
    hashes: dict[str, str] = {}
    exclusive: list[str] = []
    for spec in asked or tuple(sorted(installed_backends())):
        locate_backend(spec)
        try:
            reply = describe(spec, problem, protocol.threads, machine, limits)
        except NoOfferError as error:
            reply = {"unavailable": str(error)}
        reason = _refusal(reply)
        if reason is None and reply.get("exclusive") and not asked:
            reason = "its library may not share a process; name it to use"
        if reason is None:
            hashes[spec] = str(reply["source_hash"])
            exclusive += [spec] if reply.get("exclusive") else []
        elif asked:
            raise GemmbenchError(f"backend {spec!r} cannot be in a pass: {reason.rstrip('.')}.")
        else:
            notes.append(f"left out: {spec} ({reason.rstrip('.')})")
    if not hashes:
        raise GemmbenchError(
            f"--backend: no installed backend can be in a pass: {'; '.join(notes)}. Name one."
        )
    if len(exclusive) > 1:
        raise GemmbenchError(
            f"--backend: {' and '.join(exclusive)} each bring a library that cannot share a "
            "process with the other's, and a pass is one process. Name one of them."
        )
    return hashes


def _refusal(reply: Mapping[str, Any]) -> str | None:
    if reply["unavailable"] is not None:
        return str(reply["unavailable"])
    if reply.get("device"):
        return f"it computes on {reply['device']}, and a pass hands on arrays of the host"
    return None


def _take(choice: Choice, arena: Arena, problem: Problem, *, stored: bool) -> bool:
    """Note who computes `problem`, if it is known."""
    found = arena.stored(problem)
    if found is None:
        return False
    trial, run = found
    seconds = seconds_of(trial)
    choice.chosen[problem] = Chosen(trial.contender, seconds, run, trial.library, stored)
    return True


def _reasons(races: Outcome | None, layer: str) -> str:
    trials: Sequence[Trial] = races.trials if races is not None else ()
    said = [
        f"{t.contender.backend}: {t.reason}"
        for t in trials
        if t.layer == layer and t.state is not TrialState.COMPLETE
    ]
    return f" ({'; '.join(said)})" if said else ""
