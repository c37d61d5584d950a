"""Figures of times and rates. All that a user could have written passes a function of `labels`."""

from collections.abc import Mapping, Sequence
from typing import Any

from gemmbench_results.report.table import digits, seconds_text
from gemmbench_results.report.web.chart import (
    Figure,
    columns_width,
    downwards,
    fill,
    from_zero,
    ink,
    layout,
    logarithmic,
    numbered,
    rows_height,
    stroke,
)
from gemmbench_results.report.web.labels import hover, labels, legend_labels, place
from gemmbench_results.report.web.speeds import Bar, Rate, Segment, bandwidths, typical_peak

LAYERS_SHOWN = 24  # of a stacked bar; the quickest of more are drawn together
OTHERS = "other layers"
OTHERS_NAMED = 8  # in their hover text, the longest; more would be higher than the screen
LONGEST_INSIDE = 34  # characters in a segment, which has one line
LONGEST_AT_POINT = 16  # of a layer's name in the roofline
GROUP_PIXELS, BAR_PIXELS = 28, 5  # of a layer's bars and of each of them, at least
PLACES = ("top center", "bottom center", "top right", "bottom left")  # layers in turn, to be apart


def network_figure(bars: Sequence[Bar], *, shares: bool = False) -> Figure:
    """One horizontal bar a lane, a segment a layer: milliseconds, or per cent of the bar."""
    order = list(dict.fromkeys(s.layer for bar in bars for s in bar.segments))
    longest = {
        name: max(s.seconds for bar in bars for s in bar.segments if s.layer == name)
        for name in order
    }
    shown = set(sorted(order, key=lambda name: -longest[name])[:LAYERS_SHOWN])
    own = [name for name in order if name in shown]
    texts = zip(own, legend_labels(own), labels(own, LONGEST_INSIDE), strict=True)
    data = [
        _segments(legend, inside, [name], bars, number)
        for number, (name, legend, inside) in enumerate(texts)
    ]
    others = [name for name in order if name not in shown]
    if others:
        data.append(_segments(OTHERS, OTHERS, others, bars, len(shown)))
    return {
        "data": data,
        "layout": {
            **layout(rows_height([bar_name(bar) for bar in bars]) + 20),
            "barmode": "stack",
            "bargap": 0.28,
            "uniformtext": {"mode": "hide", "minsize": 11},
            "xaxis": from_zero("per cent of the bar" if shares else "milliseconds"),
            "barnorm": "percent" if shares else "",
            "yaxis": downwards([bar_name(bar) for bar in bars]),
        },
    }


def bar_name(bar: Bar) -> str:
    """'numba', and 'fft (5 of 8 layers)' where it lacks some."""
    total = len(bar.segments) + len(bar.missing)
    part = f" ({len(bar.segments)} of {total} layers)" if bar.missing else ""
    return f"{bar.lane}{part}"


def rates_figure(rates: Sequence[Rate]) -> Figure:
    """Bars of GFLOP/s by layer and lane; a line across each layer's bars is the peak."""
    layers = list(dict.fromkeys(rate.layer for rate in rates))
    names = list(dict.fromkeys(rate.lane for rate in rates))
    wide = max(GROUP_PIXELS, BAR_PIXELS * (len(names) + 1))
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "name": legend,
            "x": [layers.index(rate.layer) for rate in rates if rate.lane == name],
            "y": [rate.gflops for rate in rates if rate.lane == name],
            "hovertext": [_rate_text(rate) for rate in rates if rate.lane == name],
            "hoverinfo": "text",
            "marker": fill(number),
        }
        for number, (name, legend) in enumerate(zip(names, legend_labels(names), strict=True))
    ]
    peaks = {layers.index(r.layer): r.peak_gflops for r in rates if r.peak_gflops}
    return {
        "data": [*data, _peaks(peaks)] if peaks else data,
        "layout": {
            **layout(300, columns_width(len(layers), wide)),
            "barmode": "group",
            "bargap": 0.22,
            "xaxis": numbered(layers),
            "yaxis": from_zero("GFLOP/s"),
        },
    }


def roofline_figure(rates: Sequence[Rate]) -> Figure:
    """A point a layer and lane under the roofs, both axes logarithmic; a dash is a layer's own."""
    names = list(dict.fromkeys(rate.lane for rate in rates))
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": legend,
            "x": [rate.intensity for rate in rates if rate.lane == name],
            "y": [rate.gflops for rate in rates if rate.lane == name],
            "hovertext": [_rate_text(rate) for rate in rates if rate.lane == name],
            "hoverinfo": "text",
            "marker": {**stroke(number)["marker"], "size": 11},
        }
        for number, (name, legend) in enumerate(zip(names, legend_labels(names), strict=True))
    ]
    known = [rate for rate in rates if rate.attainable_gflops]
    own = {rate.layer: rate for rate in sorted(known, key=lambda rate: rate.intensity)}
    if own:
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "cliponaxis": False,
                "name": "the layer's own roof",
                "x": [rate.intensity for rate in own.values()],
                "y": [rate.attainable_gflops for rate in own.values()],
                "text": labels(list(own), LONGEST_AT_POINT),
                "textposition": [PLACES[number % len(PLACES)] for number in range(len(own))],
                "hovertext": [_roof_text(rate) for rate in own.values()],
                "hoverinfo": "text",
                "marker": _dash(22),
            }
        )
    drawn = [*_roofs(rates), *data]
    return {
        "data": drawn,
        "layout": {
            **layout(380),
            "xaxis": logarithmic("FLOP a byte", [x for one in drawn for x in one["x"]], few=True),
            "yaxis": logarithmic("GFLOP/s", [y for one in drawn for y in one["y"]]),
        },
    }


def _segments(
    name: str, inside: str, layers: Sequence[str], bars: Sequence[Bar], number: int
) -> dict[str, Any]:
    own = [[s for s in bar.segments if s.layer in layers] for bar in bars]
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": [place(bar_name(bar)) for bar in bars],
        "x": [1e3 * sum(s.seconds for s in found) for found in own],
        "text": [inside if found else "" for found in own],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "insidetextfont": {"color": ink(number)},
        "textangle": 0,
        "hovertext": [_bar_text(bar, found) for bar, found in zip(bars, own, strict=True)],
        "hoverinfo": "text",
        "marker": fill(number, patterned=False),
    }


def _bar_text(bar: Bar, segments: Sequence[Segment]) -> str:
    """The segments, the longest of many and how many more there are."""
    many = len(segments) > OTHERS_NAMED
    named = sorted(segments, key=lambda s: -s.seconds)[:OTHERS_NAMED] if many else segments
    return hover(
        bar.lane,
        *(
            f"{s.layer}: {seconds_text(s.seconds)} ({100 * s.seconds / bar.seconds:.1f} %)"
            f" by {s.contender}{f', {s.count} times' if s.count > 1 else ''}"
            for s in named
        ),
        f"and {len(segments) - OTHERS_NAMED} more" if many else "",
    )


def _peaks(peaks: Mapping[int, float]) -> dict[str, Any]:
    """A line over the bars of each layer, by the layer's index."""
    return {
        "type": "scatter",
        "name": "peak",
        "mode": "lines",
        "x": [x for layer in peaks for x in (layer - 0.42, layer, layer + 0.42, None)],
        "y": [y for peak in peaks.values() for y in (peak, peak, peak, None)],
        "hovertext": [
            text
            for peak in peaks.values()
            for text in (*[f"peak beside it: {digits(peak, 3)} GFLOP/s"] * 3, "")
        ],
        "hoverinfo": "text",
        "line": {"width": 2, "color": "var(--ink)"},
    }


def _rate_text(rate: Rate) -> str:
    peak = f" = {100 * rate.gflops / rate.peak_gflops:.0f} % of peak" if rate.peak_gflops else ""
    return hover(
        f"{rate.layer}: {rate.contender}",
        f"{seconds_text(rate.seconds)}, {digits(rate.gflops, 3)} GFLOP/s{peak}",
        f"{digits(rate.intensity, 3)} FLOP a byte",
    )


def _roof_text(rate: Rate) -> str:
    return hover(
        f"{rate.layer}: at most {digits(rate.attainable_gflops or 0, 3)} GFLOP/s",
        f"peak {digits(rate.peak_gflops or 0, 3)} GFLOP/s; its bytes at "
        f"{digits(rate.peak_gbytes or 0, 3)} GB/s",
    )


def _roofs(rates: Sequence[Rate]) -> list[dict[str, Any]]:
    """The lines of the peak, and of the slowest and the fastest memory that was read."""
    peak, speeds = typical_peak(rates), bandwidths(rates)
    low = min(rate.intensity for rate in rates) / 2
    high = max(rate.intensity for rate in rates) * 2
    roofs = []
    if peak:
        start = min(high, peak / speeds[-1]) if speeds else low  # where the memory's roof ends
        text = f"peak {digits(peak, 3)} GFLOP/s"
        roofs.append(_roof("peak", [start, high], [peak, peak], ["", text], "solid"))
    for number, speed in enumerate(speeds):
        end = min(high, peak / speed) if peak else high
        ends = [min(low, end / 2), end]
        name = "memory" if number == 0 else "cache"
        text = f"{digits(speed, 3)} GB/s"
        rates_ = [speed * x for x in ends]
        roofs.append(_roof(f"reading {name}", ends, rates_, [text, ""], ("dash", "dot")[number]))
    return roofs


def _roof(name: str, x: list[float], y: list[float], texts: list[str], dash: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+text",
        "name": name,
        "x": x,
        "y": y,
        "text": texts,
        "textposition": "bottom right" if texts[0] else "bottom left",
        "hovertext": [f"{name}: {texts[0] or texts[1]}"] * 2,
        "hoverinfo": "text",
        "line": {"color": "var(--ink)", "width": 2, "dash": dash},
    }


def _dash(size: int) -> dict[str, Any]:
    """The marker of a roof: a short line across."""
    line = {"width": 2, "color": "var(--ink)"}
    return {"symbol": "line-ew-open", "size": size, "color": "var(--ink)", "line": line}
