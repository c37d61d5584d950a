"""What every chart is made of: its figure, its words, its figures as text, and how it looks.

Colours are names of CSS variables, which the page's script replaces by what they are in a light or
a dark page. Nothing is told by colour alone: series differ by pattern, marker or dash as well,
cells carry their values, and a bar's segments stand in the order of the legend. Hues: Okabe & Ito,
"Color Universal Design", 2008.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log10
from typing import Any

from gemmbench_results.report.web.labels import axis_labels, labels, most_lines, place

PALETTE = tuple(f"var(--s{number})" for number in range(8))
LINES_OPACITY = 0.45  # of a pattern, away from the ink of what is written over it
PATTERNS = ("", "/", "x", "-", "\\", "|", "+", ".")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash")
HEAT = "Cividis"  # even to the eye, and the same without colour vision
LINE_PIXELS = 17
ROW_PIXELS = 26
FRAME_PIXELS = 110  # of axis, legend and margins at first; the page's script then measures them
LOWEST_PLOT = 80  # below 64 Plotly takes from the margins, and titles lie over ticks
BESIDE_PIXELS = 90  # of an axis and margins beside a plot, in what a chart takes at least
WIDE = 30  # times the least value; beyond it a phone has room for powers of ten only
EACH = tuple(range(1, 10))  # digit
AT_EDGE = 1.05  # times a value: nearer to the end of its axis a marker would be cut
NO_LINES = {"showgrid": False, "ticks": ""}  # behind the cells of a heat map

Figure = Mapping[str, Any]  # Plotly's: {"data": [...], "layout": {...}}


@dataclass(frozen=True, slots=True)
class View:
    """One figure of a chart; `name` is what it is chosen by where there are several."""

    name: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with the sentence under its title, and its figures as a table.

    Without views there is nothing to draw, and the caption says why.
    """

    key: str  # of its place in the page
    title: str
    caption: str
    views: tuple[View, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def axis(title: str = "") -> dict[str, Any]:
    """An axis with the page's colours."""
    return {
        "title": {"text": title, "standoff": 10},
        "automargin": True,
        "gridcolor": "var(--grid)",
        "zerolinecolor": "var(--line)",
        "linecolor": "var(--line)",
        "tickcolor": "var(--line)",
    }


def from_zero(title: str) -> dict[str, Any]:
    """An axis of amounts, whose bars may be compared by their lengths."""
    return {**axis(title), "rangemode": "tozero"}


def logarithmic(title: str, values: Sequence[float], *, few: bool = False) -> dict[str, Any]:
    """An axis of ratios that reaches over `values`, all positive, with at least two ticks.

    They are at 1, 2 and 5 of each power of ten; at 1 alone where the axis is wide and `few` are to
    be; and at each digit where no others are near. They say their number in full: Plotly's own say
    '2' for 20. Less than a power of ten ends at the next digits, so that a narrow one has ticks.
    """
    low, high = min(values), max(values)
    limits = {}
    if high < 10 * low:
        low = max((tick for tick in _ticks(EACH) if tick * AT_EDGE < low), default=low)
        high = min((tick for tick in _ticks(EACH) if tick > high * AT_EDGE), default=high)
        limits = {"range": [log10(low), log10(high)]}
    asked = (((1,), 2 if few and high > WIDE * low else inf), ((1, 2, 5), 2), (EACH, 0))
    ticks = next(
        _ticks(digits)
        for digits, least in asked
        if sum(low <= tick <= high for tick in _ticks(digits)) >= least
    )
    shown = {"tickmode": "array", "tickvals": ticks, "ticktext": [f"{tick:.15g}" for tick in ticks]}
    return {**axis(title), **shown, **limits, "type": "log"}


def categories(names: Sequence[str], title: str = "") -> dict[str, Any]:
    """An axis of names in that order, so that none is taken for a number or a date.

    What stands at a name has to name it by `place`. Long ones are shown in lines, and cut.
    """
    places, shown = [place(name) for name in names], axis_labels(names)
    listed = {"type": "category", "categoryorder": "array", "categoryarray": places}
    cut = {"tickmode": "array", "tickvals": places, "ticktext": shown} if shown != places else {}
    return {**axis(title), **listed, **cut}


def cells(names: Sequence[str], title: str = "") -> dict[str, Any]:
    """An axis of a heat map: names without lines behind the cells."""
    return {**categories(names, title), **NO_LINES}


def downwards(names: Sequence[str], title: str = "") -> dict[str, Any]:
    """A vertical axis of names, the first of them on top."""
    return {**categories(names, title), "autorange": "reversed"}


def numbered(names: Sequence[str]) -> dict[str, Any]:
    """A horizontal axis on which a name is its index, so that a mark may span its place."""
    shown = {"tickvals": list(range(len(names))), "ticktext": labels(names)}
    look = {"tickmode": "array", "ticklabeloverflow": "allow", "zeroline": False}
    return {**axis(), **shown, **look, "range": [-0.5, len(names) - 0.5]}


def layout(plot: int, narrowest: int = 0) -> dict[str, Any]:
    """A layout with the page's look, without axes.

    `plot` is the height of the plot alone, `narrowest` the least width at which the chart can be
    read, both in pixels. `meta` takes them to the page's script: it adds what axes and legend take
    at the page's width, and scrolls to the side where that is less.
    """
    height = max(plot, LOWEST_PLOT)
    return {
        "height": height + FRAME_PIXELS,
        "meta": {"plot": height, "narrowest": narrowest},
        "autosize": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "var(--ink)"},
        "margin": {"l": 10, "r": 16, "t": 8, "b": 10},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "traceorder": "normal",
            "font": {"size": 12},
        },
        "hovermode": "closest",
        "modebar": {  # Plotly's own guess beside a transparent paper is white on grey
            "bgcolor": "rgba(0,0,0,0)",
            "color": "var(--soft)",
            "activecolor": "var(--ink)",
        },
        "hoverlabel": {
            "bgcolor": "var(--card)",
            "bordercolor": "var(--line)",
            "font": {"color": "var(--ink)"},
            "align": "left",
        },
    }


def _ticks(digits: Sequence[int]) -> list[float]:
    return [float(f"{digit}e{power}") for power in range(-6, 9) for digit in digits]


def fill(number: int, *, patterned: bool = True) -> dict[str, Any]:
    """How the bars of a series look: a hue, and a pattern of lines over it."""
    again = number // len(PALETTE)  # how often the hues were all used before
    shape = PATTERNS[(number * patterned + again) % len(PATTERNS)]
    return {
        "color": PALETTE[number % len(PALETTE)],
        "line": {"color": "var(--card)", "width": 1},
        "pattern": {
            "shape": shape,
            "fillmode": "overlay",  # lines over the hue, not in place of it
            "size": 7,
            "solidity": 0.25,
            "fgcolor": "var(--over0)" if number % len(PALETTE) == 0 else "var(--over)",
            "fgopacity": LINES_OPACITY,
        },
    }


def ink(number: int) -> str:
    """The colour of text over a series' hue: the first is the only dark one, in a light page."""
    return "var(--on0)" if number % len(PALETTE) == 0 else "var(--on)"


def stroke(number: int) -> dict[str, Any]:
    """How the line and the markers of a series look."""
    return {
        "line": {"color": PALETTE[number % 8], "dash": DASHES[number % 8], "width": 2},
        "marker": {
            "color": PALETTE[number % 8],
            "symbol": SYMBOLS[number % 8],
            "size": 8,
            "line": {"color": "var(--card)", "width": 1},
        },
    }


def rows_height(names: Sequence[str]) -> int:
    """Pixels of a plot with a row for each name, high enough for the name's lines."""
    return max(1, len(names)) * max(ROW_PIXELS, LINE_PIXELS * most_lines(names) + 2)


def columns_width(count: int, pixels: int) -> int:
    """The least width of a chart of `count` columns that are read down to `pixels` each."""
    return BESIDE_PIXELS + count * pixels
