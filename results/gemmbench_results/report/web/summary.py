"""What a report says before any chart: who wins, a few figures, the machine and the protocol."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gemmbench.machine import Machine
from gemmbench.ranking import is_doubtful, rank
from gemmbench.stats import Verdict
from gemmbench.trial import Trial
from gemmbench_results.fingerprint import fingerprint
from gemmbench_results.report.sentences import other_sentences, winner_clauses
from gemmbench_results.report.standing import layers_of
from gemmbench_results.report.table import digits, seconds_text
from gemmbench_results.report.web.speeds import (
    Bar,
    Counts,
    lane,
    network_bars,
    rates,
    typical_peak,
)
from gemmbench_results.runs import Run

Facts = tuple[tuple[str, str], ...]

LISTED = 4  # layers in the headline; longer lists end in a count
DOUBT = "nobody"  # beside a leader that is not believed


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure worth a look, what it is, and what it rests on."""

    value: str
    name: str
    note: str = ""


def headline(trials: Sequence[Trial]) -> str:
    """'numba is fastest on 7 of 8 layers and blas on 1.', of plain weights, and who shares one."""
    layers = {name: _leading(own) for name, own in layers_of(trials).items()}
    decided = Counter(next(iter(lanes)) for lanes in layers.values() if len(lanes) == 1)
    if not decided:
        return "Nobody is surely fastest on any layer."
    total = len(layers)
    (first, count), *others = decided.most_common()
    rest = "".join(f", {name} on {number}" for name, number in others)
    shared = [name for name, lanes in layers.items() if len(lanes) > 1]
    more = f" and {len(shared) - LISTED} more" if len(shared) > LISTED else ""
    open_ = f" On {', '.join(shared[:LISTED])}{more} it is not decided."
    return f"{first} is fastest on {count} of {total} layers{rest}.{open_ if shared else ''}"


def said(trials: Sequence[Trial]) -> tuple[list[str], list[str]]:
    """What `gemmbench run` says under its table: clauses of what won where, and other sentences.

    Without the command it suggests.
    """
    verdicts: dict[str, tuple[Verdict, ...]] = {
        name: rank(own) for name, own in layers_of(trials).items()
    }
    return winner_clauses(trials, verdicts), other_sentences(trials, verdicts)


def tiles(trials: Sequence[Trial], counts: Counts) -> list[Tile]:
    """A few figures of the run, the network's time first."""
    bars, found = network_bars(trials, counts), rates(trials)
    shown = []
    if bars:
        shown.append(_pass_tile(trials, bars[0]))
    peak = typical_peak(found)
    if bars and peak:
        flops = sum(
            counts.get(layer, 1) * own[0].problem.flops()
            for layer, own in layers_of(trials).items()
            if layer not in bars[0].missing
        )
        rate = flops / bars[0].seconds / 1e9
        note = f"{100 * rate / peak:.0f} % of a peak of {digits(peak, 3)}, by direct operations"
        shown.append(Tile(digits(rate, 3), "GFLOP/s over the whole", note))
    raced = [trial for trial in trials if trial.purpose == "race"]
    searched = sum(trial.purpose == "tune" for trial in trials)
    states = Counter(str(trial.state) for trial in raced)
    wrong = ", ".join(f"{states[s]} {s}" for s in ("WRONG", "FAILED", "SKIPPED") if states[s])
    shown.append(Tile(str(states["COMPLETE"]), "contenders timed", wrong or "all of them right"))
    if searched:
        shown.append(Tile(str(searched), "configs searched", "each verified before it was timed"))
    return shown


def run_facts(run: Run, database: str) -> Facts:
    """The run: number, command, when, how it ended."""
    ended = "still running, or killed" if run.ended_at is None else run.ended_at[:19]
    return (
        ("run", str(run.number)),
        ("command", run.command),
        ("began, UTC", run.started_at[:19].replace("T", " ")),
        ("ended, UTC", ended.replace("T", " ")),
        ("exit code", "none" if run.exit_code is None else str(run.exit_code)),
        ("seed", str(run.seed)),
        ("gemmbench", run.gemmbench_version),
        ("database", database),
    )


def machine_facts(machine: Machine) -> Facts:
    """The machine: what makes timings comparable, and what is good to know."""
    sizes = (machine.l1d_bytes, machine.l2_bytes, machine.l3_bytes)
    caches = ", ".join(
        f"L{level} {size // 1024} KiB" for level, size in enumerate(sizes, 1) if size
    )
    return (
        ("CPU", machine.cpu),
        ("microarchitecture", machine.microarchitecture),
        ("cores", str(machine.cores)),
        ("caches", caches),
        ("memory", f"{machine.memory_bytes / 2**30:.1f} GiB"),
        ("vector registers", f"{8 * machine.vector_bytes()} bits"),
        ("system", machine.system),
    )


def software_facts(run: Run) -> Facts:
    """Libraries that timings depend on."""
    if run.software is None:
        return (("software", "not stored with this run"),)
    known = dict(fingerprint(run.machine, run.software, run.protocol).facts)
    names = ["BLAS", "BLAS kernel", *dict(run.software.packages), "GPU", "GPU driver"]
    return tuple((name, known[name]) for name in names if known.get(name, "none") != "none")


def protocol_facts(run: Run) -> Facts:
    """How was measured."""
    protocol = run.protocol
    limit = "none" if protocol.max_error is None else f"{protocol.max_error:g} of the rms"
    cold = f", rotating through {protocol.cold_bytes / 2**20:.0f} MiB"
    return (
        ("threads", str(protocol.threads)),
        ("fresh processes", str(protocol.processes)),
        ("caches", protocol.cache + (cold if protocol.cold_bytes else "")),
        ("operands", f"{protocol.fill}, aligned to {protocol.alignment} bytes"),
        ("a block", f"at least {1e3 * protocol.block_seconds:g} ms"),
        ("untimed calls before", str(protocol.warmup_calls)),
        ("ends by", protocol.stop.replace("-", " ")),
        ("largest error that may win", limit),
        *((f"forced {n}", text) for n, text in enumerate(protocol.forced, 1)),
        *((f"note {n}", text) for n, text in enumerate(protocol.notes, 1)),
        ("method", f"version {protocol.method}"),
    )


def _leading(own: Sequence[Trial]) -> set[str]:
    """The lanes of a layer's leaders among plain weights; prepared ones where all are.

    A single leader that is no winner, because it passed the peak, shares the layer with `DOUBT`;
    who raced alone leads nobody.
    """
    verdicts: Mapping[str, Verdict] = {
        own[verdict.leaders[0]].contender.weights: verdict
        for verdict in rank(own)
        if verdict.margin is not None  # who raced alone has no lead over anybody
    }
    verdict = verdicts.get("plain") or next(iter(verdicts.values()), None)
    if verdict is None:
        return set()
    doubt = {DOUBT} if is_doubtful(verdict) else set()
    return {lane(own[i].contender) for i in verdict.leaders} | doubt


def _pass_tile(trials: Sequence[Trial], bar: Bar) -> Tile:
    """The time of all layers by the fastest of each, and of one image where the batch is one."""
    batches = {getattr(trial.problem, "batch", None) for trial in trials}
    batch = batches.pop() if len(batches) == 1 else None
    image = f"{seconds_text(bar.seconds / batch)} an image at batch {batch}" if batch else ""
    return Tile(seconds_text(bar.seconds), bar.lane, image)
