"""Chart data of times and rates: the network's time, GFLOP/s against the peak, the roofline.

Pure functions from trials. A *lane* is what a bar is coloured by: a backend with its weights
(`prepared` where they are) and its environment where that is not the usual one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from gemmbench.ranking import may_win
from gemmbench.roofline import attainable_flops, intensity
from gemmbench.trial import Contender, Trial
from gemmbench_results.export.entries import Entry, contender_name, entries

FASTEST = "fastest of each layer"
ANOTHER_MEMORY = 1.5  # times as fast: a cache and not the same memory again

Counts = Mapping[str, int]  # how often the network repeats a layer; 1 for what is not in it


@dataclass(frozen=True, slots=True)
class Segment:
    """A layer's part of a bar; `seconds` of all its repetitions."""

    layer: str
    seconds: float
    contender: str
    count: int


@dataclass(frozen=True, slots=True)
class Bar:
    """The layers one after another, and those that nobody in this lane computes."""

    lane: str
    segments: tuple[Segment, ...]
    missing: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Of all segments."""
        return sum(segment.seconds for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast the fastest contender of a lane computes a layer, by the direct method's FLOPs.

    `intensity` is in FLOP a byte, of a call that reads every operand once and writes its output.
    Both peaks were raced beside it, `peak_gbytes` by reading as many bytes as the layer has.
    """

    layer: str
    lane: str
    contender: str
    seconds: float
    gflops: float
    peak_gflops: float | None
    peak_gbytes: float | None  # GB/s
    intensity: float

    @property
    def attainable_gflops(self) -> float | None:
        """Under both roofs; None where one of them was not raced."""
        if not self.peak_gflops or not self.peak_gbytes:
            return None
        return attainable_flops(self.intensity, self.peak_gflops, self.peak_gbytes)


def lane(contender: Contender) -> str:
    """'numba', 'numba prepared', 'blas (OMP_NUM_THREADS=1)'."""
    prepared = " prepared" if contender.weights == "prepared" else ""
    extra = contender_name(contender).removeprefix(contender.label())
    return f"{contender.backend}{prepared}{extra}"


def ranked(trials: Sequence[Trial]) -> list[Entry]:
    """The race trials that completed and may win, the fastest config of each contender."""
    return [entry for entry in entries(trials) if may_win(entry.trial)]


def layer_names(trials: Sequence[Trial]) -> list[str]:
    """The layers that were raced, in their order."""
    return list(dict.fromkeys(trial.layer for trial in trials if trial.purpose == "race"))


def lanes(trials: Sequence[Trial]) -> list[str]:
    """The lanes that timed something, in the order they first appear."""
    return list(dict.fromkeys(lane(entry.trial.contender) for entry in ranked(trials)))


def network_bars(trials: Sequence[Trial], counts: Counts) -> list[Bar]:
    """A bar a lane, complete ones first, the fastest first; above them the best of all lanes.

    That one is of one kind of weights, and only there if several lanes have them.
    """
    layers, own = layer_names(trials), _fastest_by_lane(trials)
    bars = [_bar(name, found, layers, counts) for name, found in own.items()]
    bars.sort(key=lambda bar: (len(bar.missing), bar.seconds))
    best = []
    for weights in ("plain", "prepared"):
        mixed = [
            found
            for found in own.values()
            if next(iter(found.values())).trial.contender.weights == weights
        ]
        if len(mixed) > 1:
            name = FASTEST if weights == "plain" else f"{FASTEST}, prepared"
            best.append(_bar(name, _merged(mixed), layers, counts))
    return [*best, *bars]


def rates(trials: Sequence[Trial]) -> list[Rate]:
    """One rate a lane and layer, in the order of layers, then of lanes."""
    own = _fastest_by_lane(trials)
    return [
        _rate(name, own[name][layer])
        for layer in layer_names(trials)
        for name in own
        if layer in own[name]
    ]


def typical_peak(found: Sequence[Rate]) -> float | None:
    """The median over layers of the peaks raced beside them, in GFLOP/s; None without any."""
    peaks = {rate.layer: rate.peak_gflops for rate in found if rate.peak_gflops}
    return median(peaks.values()) if peaks else None


def bandwidths(found: Sequence[Rate]) -> list[float]:
    """GB/s of the slowest and the fastest memory that layers were held against; one if alike."""
    known = sorted({rate.peak_gbytes for rate in found if rate.peak_gbytes})
    if len(known) > 1 and known[-1] > ANOTHER_MEMORY * known[0]:
        return [known[0], known[-1]]
    return known[:1]


def _fastest_by_lane(trials: Sequence[Trial]) -> dict[str, dict[str, Entry]]:
    """By lane and layer."""
    own: dict[str, dict[str, Entry]] = {}
    for entry in ranked(trials):
        layers = own.setdefault(lane(entry.trial.contender), {})
        rival = layers.get(entry.trial.layer, entry)
        layers[entry.trial.layer] = min(entry, rival, key=_seconds)
    return own


def _merged(lanes_: Sequence[Mapping[str, Entry]]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for own in lanes_:
        for layer, entry in own.items():
            found[layer] = min(entry, found.get(layer, entry), key=_seconds)
    return found


def _seconds(entry: Entry) -> float:
    return entry.summary.median


def _bar(name: str, found: Mapping[str, Entry], layers: Sequence[str], counts: Counts) -> Bar:
    segments = tuple(
        Segment(
            layer,
            counts.get(layer, 1) * found[layer].summary.median,
            contender_name(found[layer].trial.contender),
            counts.get(layer, 1),
        )
        for layer in layers
        if layer in found
    )
    return Bar(name, segments, tuple(layer for layer in layers if layer not in found))


def _rate(name: str, entry: Entry) -> Rate:
    trial, seconds = entry.trial, entry.summary.median
    return Rate(
        trial.layer,
        name,
        contender_name(trial.contender),
        seconds,
        trial.problem.flops() / seconds / 1e9,
        trial.peak_flops / 1e9 if trial.peak_flops else None,
        trial.peak_bytes / 1e9 if trial.peak_bytes else None,
        intensity(trial.problem),
    )
