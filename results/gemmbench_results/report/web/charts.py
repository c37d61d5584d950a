"""The charts of a report: what each says in a sentence, its figures, and its figures as text."""

from collections.abc import Sequence

from gemmbench.problem import Conv2d, Linear
from gemmbench.trial import Trial
from gemmbench_results.report.table import digits, seconds_text
from gemmbench_results.report.web.algorithm_figures import (
    kernel_figure,
    pair_text,
    ratio_text,
    ratios_figure,
    stages_figure,
)
from gemmbench_results.report.web.algorithms import (
    Cell,
    Ratios,
    kernel_map,
    ratios,
    stage_names,
    staged,
)
from gemmbench_results.report.web.chart import Chart, View
from gemmbench_results.report.web.evidence import Evidence
from gemmbench_results.report.web.speeds import (
    Bar,
    Counts,
    Rate,
    bandwidths,
    network_bars,
    rates,
    typical_peak,
)
from gemmbench_results.report.web.time_figures import (
    bar_name,
    network_figure,
    rates_figure,
    roofline_figure,
)

WEIGHTS = ("plain", "prepared")
NOTHING_TIMED = "Nothing to draw: no contender of this run completed."


def network_chart(trials: Sequence[Trial], counts: Counts) -> Chart:
    """The network's time by layer, one bar a backend."""
    bars = network_bars(trials, counts)
    key, title = "network", "Where the time goes"
    if not bars:
        return Chart(key, title, NOTHING_TIMED)
    return Chart(
        key,
        title,
        f"Each layer's fastest contender of a backend, added up: layers raced one at a time. "
        f"{share_sentence(trials, bars[0])}",
        _network_views(bars),
        ("bar", "whole", *(segment.layer for segment in _widest(bars).segments)),
        tuple(_bar_row(bar, _widest(bars)) for bar in bars),
    )


def share_sentence(trials: Sequence[Trial], bar: Bar) -> str:
    """What convolutions and fully connected layers take of a bar; '' where there is no such."""
    kinds = {trial.layer: type(trial.problem) for trial in trials}
    parts = []
    for kind, name in ((Conv2d, "convolutions"), (Linear, "fully connected layers")):
        seconds = sum(s.seconds for s in bar.segments if kinds[s.layer] is kind)
        if seconds:
            parts.append(f"{name} are {share_text(seconds / bar.seconds)}")
    if not parts:
        return ""
    return f"Of the topmost bar, {seconds_text(bar.seconds)}, {' and '.join(parts)}."


def share_text(share: float) -> str:
    """'72 %', and '0.3 %' or 'more than 99.9 %' where a whole number would say none or all."""
    percent = 100 * share
    if percent < 0.1:
        return "less than 0.1 %"
    if 99.9 < percent < 100:
        return "more than 99.9 %"
    if percent < 100 and not 1 <= percent <= 99:
        return f"{percent:.1f} %"
    return f"{percent:.0f} %"


def rates_chart(found: Sequence[Rate]) -> Chart:
    """GFLOP/s of each backend on each layer against the peak."""
    key, title = "rates", "GFLOP/s against the peak"
    if not found:
        return Chart(key, title, NOTHING_TIMED)
    peak = typical_peak(found)
    roof = (
        "The line over a layer is the fused multiply-add peak raced beside it."
        if peak
        else "This run was made without a peak."
    )
    return Chart(
        key,
        title,
        "By the operations of the direct method whatever the algorithm, so a transform may pass "
        f"the peak: it compares time to answer. {roof}",
        (View("", rates_figure(found)),),
        ("layer", "backend", "contender", "time", "GFLOP/s", "% of peak"),
        tuple(
            (
                rate.layer,
                rate.lane,
                rate.contender,
                seconds_text(rate.seconds),
                digits(rate.gflops, 3),
                f"{100 * rate.gflops / rate.peak_gflops:.0f}" if rate.peak_gflops else "",
            )
            for rate in found
        ),
    )


def roofline_chart(found: Sequence[Rate]) -> Chart:
    """Arithmetic intensity and rate of each layer under the roofs."""
    key, title = "roofline", "Roofline"
    if not found:
        return Chart(key, title, NOTHING_TIMED)
    memory = (
        "A layer's own roof is the peak, or reading as many bytes as it has, both raced beside it; "
        "a transform executes fewer operations and may pass it. Names that would overlap are left "
        "out; the table below has all."
        if bandwidths(found)
        else "The memory's roof is not drawn: this run was made without a bandwidth."
    )
    return Chart(
        key,
        title,
        "Arithmetic intensity is the operations of the direct method a byte, each operand and the "
        f"output moved once. {memory}",
        (View("", roofline_figure(found)),),
        ("layer", "backend", "FLOP a byte", "GFLOP/s", "attainable"),
        tuple(
            (
                rate.layer,
                rate.lane,
                digits(rate.intensity, 3),
                digits(rate.gflops, 3),
                digits(rate.attainable_gflops, 3) if rate.attainable_gflops else "",
            )
            for rate in found
        ),
    )


def ratios_chart(trials: Sequence[Trial]) -> Chart:
    """How much slower than the fastest each contender is on each layer."""
    found = ratios(trials)
    kinds = {type(trial.problem) for trial in trials if trial.layer in found.layers}
    key, title = "algorithms", f"Every way of computing each {_kind(kinds)}"
    if len(found.contenders) < 2:
        return Chart(key, title, "Nothing to compare: fewer than two contenders completed.")
    return Chart(
        key,
        title,
        "Time over that of the fastest with the same weights: 1 is the fastest, 2 takes twice as "
        "long; brighter is faster. Empty: not offered, or it did not complete.",
        (View("", ratios_figure(found)),),
        ("layer", *found.contenders),
        tuple(_ratio_row(found, row) for row in range(len(found.layers))),
    )


def kernel_chart(evidence: Evidence) -> Chart:
    """The algorithm that wins by kernel size and stride."""
    key, title = "kernels", "Which algorithm wins, by kernel size and stride"
    maps = _kernel_maps(evidence.races)
    if not maps:
        return Chart(
            key,
            title,
            "Nothing to map: no convolution was computed by two algorithms in comparable runs.",
        )
    problems = sum(isinstance(race[0].problem, Conv2d) for race in evidence.races)
    return Chart(
        key,
        title,
        f"Over the {problems} different convolutions that runs comparable with this one raced, "
        "each by its newest race. A cell of several says how many its algorithm is fastest in.",
        tuple(View(name, kernel_figure(cells)) for name, cells in maps),
        ("contenders", "kernel", "stride", "fastest", "in", "surely", "next takes"),
        tuple(_cell_row(name, cell) for name, cells in maps for cell in cells),
    )


def stages_chart(evidence: Evidence) -> Chart:
    """What the stages of each contender take."""
    key, title = "stages", "Stages of a call"
    found = staged(evidence.stages.trials)
    if not found:
        return Chart(
            key,
            title,
            "No stages are stored: no contender of this run, or of one comparable with it, tells "
            "its stages apart, as im2col and the transforms do.",
        )
    names = stage_names(found)
    layers = list(dict.fromkeys(one.layer for one in found))
    return Chart(
        key,
        title,
        f"Each stage timed alone after the race{_elsewhere(evidence, evidence.stages.run)}; the "
        "diamond is the whole call as it was raced, which caches make shorter or longer than the "
        "sum. Who fuses its stages has one bar.",
        tuple(
            View(layer, stages_figure([one for one in found if one.layer == layer], names))
            for layer in layers
        ),
        ("layer", "contender", "whole call", "stages", "workspace"),
        tuple(
            (
                one.layer,
                one.contender,
                seconds_text(one.seconds),
                ", ".join(f"{name} {seconds_text(seconds)}" for name, seconds in one.stages),
                "" if one.workspace_bytes is None else f"{one.workspace_bytes / 1e6:.1f} MB",
            )
            for one in found
        ),
    )


def run_charts(evidence: Evidence, counts: Counts) -> list[Chart]:
    """The charts of times and rates."""
    found = rates(evidence.trials)
    return [network_chart(evidence.trials, counts), rates_chart(found), roofline_chart(found)]


def algorithm_charts(evidence: Evidence) -> list[Chart]:
    """The charts of algorithms and stages."""
    return [ratios_chart(_races(evidence.trials)), kernel_chart(evidence), stages_chart(evidence)]


def _network_views(bars: Sequence[Bar]) -> tuple[View, ...]:
    """Bars that may be compared come first: whole ones, which slow partial ones would squeeze."""
    whole = [bar for bar in bars if not bar.missing]
    views = [View("milliseconds of all backends", network_figure(bars))]
    if whole and len(whole) < len(bars):
        views.insert(0, View("milliseconds of those with every layer", network_figure(whole)))
    return (*views, View("share of each bar", network_figure(bars, shares=True)))


def _elsewhere(evidence: Evidence, run: int) -> str:
    """' (of run 3)' where that is not the run reported."""
    return "" if run == evidence.run.number else f" (of run {run})"


def _races(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.purpose == "race"]


def _kind(kinds: set[type]) -> str:
    """What the layers are, which `ratios` takes from the convolutions where there are any."""
    return "convolution" if kinds == {Conv2d} else "layer"


def _widest(bars: Sequence[Bar]) -> Bar:
    return max(bars, key=lambda bar: len(bar.segments))


def _bar_row(bar: Bar, widest: Bar) -> tuple[str, ...]:
    own = {segment.layer: seconds_text(segment.seconds) for segment in bar.segments}
    cells = (own.get(segment.layer, "") for segment in widest.segments)
    return bar_name(bar), seconds_text(bar.seconds), *cells


def _ratio_row(found: Ratios, row: int) -> tuple[str, ...]:
    return found.layers[row], *(ratio_text(ratio) for ratio in found.ratios[row])


def _cell_row(name: str, cell: Cell) -> tuple[str, ...]:
    return (
        name,
        pair_text(cell.kernel),
        pair_text(cell.stride),
        cell.algorithm,
        f"{cell.wins} of {cell.races}",
        str(cell.sure),
        f"{cell.ratio:.2f} times",
    )


def _kernel_maps(races: Sequence[Sequence[Trial]]) -> list[tuple[str, list[Cell]]]:
    """By weights over all backends, then of each backend that has several algorithms."""
    backends = list(dict.fromkeys(t.contender.backend for race in races for t in race))
    asked = [(weights, backend) for backend in (None, *backends) for weights in WEIGHTS]
    found = [
        (f"{backend or 'all backends'}, {weights} weights", kernel_map(races, weights, backend))
        for weights, backend in asked
    ]
    return [(name, cells) for name, cells in found if cells]
