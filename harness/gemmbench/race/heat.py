"""One heat: what can be done with entrants in fresh processes, each step of it on request.

It prepares, verifies, times and verifies again; whatever goes wrong ends one entrant alone. Which
step comes when is not its business: a race, a search and `check` each have an order of their own.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

from gemmbench.backend import locate_backend
from gemmbench.footprint import PROBES
from gemmbench.link import RequestError, WorkerLostError, case_data
from gemmbench.measurement import Sample
from gemmbench.race.entrant import Entrant
from gemmbench.race.race import Race
from gemmbench.race.spec import Talks, full_config
from gemmbench.race.stages import LONG_CALL, stage_repeats
from gemmbench.race.workers import LinkKey, Workers, link_key
from gemmbench.ranking import is_transform
from gemmbench.reference import Case, Cases
from gemmbench.trial import RaceProtocol, TrialState

SHORT_BLOCK = 0.8  # a block shorter than this share of `block_seconds` is taken again, longer


class Heat:
    """One turn of a race in fresh processes.

    A `quick` heat, for searches, verifies on one case only and times on its operands, so that
    they need not be exchanged between configs; whoever it finds best is raced in earnest. Where
    an error limit is set, products are verified on rounded operands too, which tell their error.
    """

    def __init__(
        self,
        race: Race,
        process: int,
        entrants: Sequence[Entrant],
        deadline: float,
        *,
        quick: bool = False,
    ) -> None:
        self.race = race
        self.process = process
        self.entrants = list(entrants)
        self.deadline = deadline
        self.quick = quick
        self.started = race.clock()
        self.workers = Workers(race)
        self.prepared: set[int] = set()  # indices of entrants, which are also their slots

    @property
    def links(self) -> Mapping[LinkKey, Talks]:
        """The workers that were started and live."""
        return self.workers.links

    def open(self, entrant: Entrant) -> None:
        """Start the worker of an entrant where it is missing; it gets ready on its own."""
        self.workers.open(entrant)

    def describe(self, entrant: Entrant) -> dict[str, Any]:
        """What the worker says of its backend, asked once a process."""
        return self.workers.describe(entrant)

    def ask(self, entrant: Entrant, method: str, **params: Any) -> dict[str, Any]:
        """The reply of the worker that holds `entrant`."""
        return self.workers.ask(entrant, method, **params)

    def enter(self, entrant: Entrant) -> int:
        """The index of a late entrant."""
        self.entrants.append(entrant)
        return len(self.entrants) - 1

    def leave(self, index: int) -> None:
        """Free what an entrant holds in its worker."""
        if index in self.prepared:
            self.prepared.discard(index)
            self.attempt(index, lambda i: self.ask(self.entrants[i], "release", slot=i))

    def close(self) -> None:
        """End all workers."""
        self.workers.close()

    def attempt(self, index: int, step: Callable[[int], object]) -> None:
        """Do `step` for an entrant; whatever goes wrong ends that entrant alone.

        Others that a lost worker held are prepared again in a new one when they are due.
        """
        entrant = self.entrants[index]
        if entrant.state is not TrialState.COMPLETE:
            return
        try:
            step(index)
        except RequestError as error:
            entrant.fail(TrialState.FAILED, str(error))
        except WorkerLostError as error:
            entrant.fail(TrialState.FAILED, str(error))
            lost = self.workers.discard(entrant)
            self.prepared -= {i for i, e in enumerate(self.entrants) if link_key(e) in lost}

    def make_ready(self, index: int) -> None:
        """Prepare and verify an entrant in its worker, starting one where it is missing."""
        if index in self.prepared:
            return
        entrant = self.entrants[index]
        description = self.describe(entrant)
        reason = description["unavailable"] or description["unsupported"]
        if reason is not None:
            entrant.fail(TrialState.SKIPPED, reason)
            return
        entrant.facts.update(library=description["library"], source_hash=description["source_hash"])
        if description.get("device"):
            entrant.facts.update(device=True, device_peak=description["device_peak"])
        self.verify_before(index)
        self.prepared.add(index)

    def verify_before(self, index: int) -> None:
        """All checks, with the contender left prepared on the operands that are timed."""
        entrant = self.entrants[index]
        cases, last = self.checks(entrant), None
        for case in cases:
            if last is None or entrant.contender.weights == "prepared":
                self.prepare(index, case)
            self.verify(index, case)
            last = case
            if entrant.state is not TrialState.COMPLETE:
                return
        if entrant.contender.weights == "prepared" and last is not self.timed(entrant):
            self.prepare(index, self.timed(entrant))

    def checks(self, entrant: Entrant) -> list[Case]:
        """The cases that an entrant must pass before it is timed."""
        cases = self.cases(entrant)
        if is_transform(entrant.contender):
            return [cases.uniform]
        if self.quick:
            # An error is known only where the answer is rounded.
            limited = self.race.spec.protocol.max_error is not None
            return [cases.integers, *([cases.uniform] if limited else [])]
        once = cases.selections if self.process == 0 else ()
        return [*once, cases.integers, cases.uniform]

    def timed(self, entrant: Entrant) -> Case:
        """The case whose operands are timed."""
        return self.checks(entrant)[0] if self.quick else self.cases(entrant).timed

    def cases(self, entrant: Entrant) -> Cases:
        """What it is verified and timed on."""
        return entrant.setting.cases if entrant.setting else self.race.cases

    def protocol(self, entrant: Entrant) -> RaceProtocol:
        """How it is timed."""
        return entrant.setting.protocol if entrant.setting else self.race.spec.protocol

    def prepare(self, index: int, case: Case) -> None:
        """Prepare an entrant on the operands of `case`."""
        entrant = self.entrants[index]
        protocol = self.protocol(entrant)
        at = locate_backend(entrant.contender.backend)
        shares = {"backend": at.key} if entrant.facts.get("device") else {}
        reply = self.ask(
            entrant,
            "prepare",
            slot=index,
            config=full_config(entrant.contender, protocol.threads),
            case=case_data(case),
            cold_bytes=protocol.cold_bytes,
            **shares,
        )
        entrant.facts.update(reply)

    def verify(self, index: int, case: Case, how: str = "poisoned") -> None:
        """Compare an entrant's answer on `case`; a wrong one ends its race."""
        entrant = self.entrants[index]
        reply = self.ask(entrant, "verify", slot=index, case=case_data(case), how=how)
        if reply["wrong"]:
            entrant.fail(TrialState.WRONG, f"{reply['wrong']} ({case.label} operands)")
        if case.magnitude is not None:
            entrant.note_errors(reply)

    def time_block(self, round_: int, index: int) -> None:
        """One block of at least `block_seconds`, taken again if the first guess was too short."""
        self.make_ready(index)
        entrant, protocol = self.entrants[index], self.race.spec.protocol
        while entrant.state is TrialState.COMPLETE:
            seconds = self.ask(
                entrant,
                "time",
                slot=index,
                case=case_data(self.timed(entrant)),
                loops=entrant.loops,
                warmup=protocol.warmup_calls,
            )["seconds"]
            loops, entrant.loops = entrant.loops, block_loops(seconds, entrant.loops, protocol)
            if seconds >= SHORT_BLOCK * protocol.block_seconds or entrant.loops == loops:
                entrant.samples.append(Sample(seconds, loops, self.process, round_))
                return

    def finish(self, index: int) -> None:
        """Check what the last timed call left, then an answer on inputs changed since.

        The output is not cleared before the second check: whoever did nothing, or recognised the
        operands, still holds the answer to the old ones.
        """
        self.make_ready(index)
        entrant = self.entrants[index]
        cases = self.cases(entrant)
        if cases.timed is cases.base:
            self.verify(index, cases.timed, "timed")
        if self.process == 0:
            self.take_apart(index, cases.timed)
        if entrant.facts.get("device"):
            entrant.facts["device_state"] = self.ask(entrant, "device_state")["state"]
        prepared = entrant.contender.weights == "prepared"
        if prepared and cases.timed is not cases.base:
            self.prepare(index, cases.base)
        self.verify(index, cases.changed_x if prepared else cases.changed, "stale")
        entrant.verified.add(self.process)

    def take_apart(self, index: int, case: Case) -> None:
        """Time the stages of a call, and see what memory it takes and how cold its operands are."""
        entrant, data = self.entrants[index], case_data(case)
        seconds = entrant.last_call()
        repeats = stage_repeats(seconds)
        entrant.facts["stages"] = self.ask(
            entrant, "stages", slot=index, case=data, repeats=repeats
        )
        # A long call is probed once only, as it is taken apart.
        probes = 1 if entrant.left or seconds >= LONG_CALL else PROBES
        footprint = self.ask(entrant, "footprint", slot=index, case=data, probes=probes)
        entrant.facts.update(footprint)


def block_loops(seconds: float, loops: int, protocol: RaceProtocol) -> int:
    """Calls that fill `block_seconds`, from a block of `loops` calls that took `seconds`."""
    wanted = ceil(protocol.block_seconds * loops / max(seconds, 1e-9))
    return max(1, min(wanted, 100 * loops))
