"""What every chart is made of: its figure, its words, its figures as text, and how it looks.

Colours are names of CSS variables, which the page's script replaces by what they are in a light or
a dark page. Nothing is told by colour alone: series differ by pattern, marker or dash as well, and
cells and segments carry their values. Hues: Okabe & Ito, "Color Universal Design", 2008.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from gemmbench_results.report.escape import one_line

PALETTE = tuple(f"var(--s{number})" for number in range(8))
PATTERNS = ("", "/", "x", "-", "\\", "|", "+", ".")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash")
HEAT = "Cividis"  # even to the eye, and the same without colour vision
LONGEST_LABEL = 44  # characters on an axis or in a legend; the hover text has all
LABEL_LINE = 20  # characters of a line beside a plot, so that a phone has room for the plot
PARTS = re.compile(r"[^\s/._]*[\s/._]|[^\s/._]+")  # of a label, after which it may be broken
LEGEND_LINE = 34  # characters of a line in a legend: with its sign it fits a phone
HOVER_LINE = 48
LINE_PIXELS = 17
ROW_PIXELS = 26
FRAME_PIXELS = 110  # of axis, legend and margins at first; the page's script then measures them
LOWEST_PLOT = 80  # below 64 Plotly takes from the margins, and titles lie over ticks
BESIDE_PIXELS = 90  # of an axis and margins beside a plot, in what a chart takes at least
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


def place(text: str) -> str:
    """`text` as a place on an axis of names: never cut, or two of them could become one.

    Two kernels in one folder differ at the end of their names; `categories` shows them cut.
    """
    return escape(one_line(text), quote=False)


def label(text: str, longest: int = LONGEST_LABEL) -> str:
    """`text` as Plotly shows it unchanged: one line, cut, without what it reads as markup.

    Plotly takes tags such as <b> and <a href> in every label for markup, and entities for
    characters; `$` would begin a formula if MathJax were there.
    """
    return escape(_cut(one_line(text), longest), quote=False)


def broken(text: str, line: int = LABEL_LINE, longest: int = LONGEST_LABEL) -> str:
    """`text` as a label in lines of at most `line` characters, cut as `label` does."""
    return "<br>".join(escape(part, quote=False) for part in _lines(text, line, longest))


def hover(*texts: str) -> str:
    """Lines of a hover text, long ones in several, markup taken out of them."""
    return "<br>".join(broken(text, HOVER_LINE, 160) for text in texts if text)


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


def logarithmic(title: str, digits: Sequence[int] = (1, 2, 5)) -> dict[str, Any]:
    """An axis of ratios with a tick at those digits of each power of ten.

    The ticks are whole numbers: Plotly's own say '2' for 20.
    """
    ticks = [float(f"{digit}e{power}") for power in range(-5, 8) for digit in digits]
    shown = {"tickmode": "array", "tickvals": ticks, "ticktext": [f"{tick:.15g}" for tick in ticks]}
    return {**axis(title), **shown, "type": "log"}


def categories(names: Sequence[str], title: str = "") -> dict[str, Any]:
    """An axis of names in that order, so that none is taken for a number or a date.

    What stands at a name has to name it by `place`. Long ones are shown in lines, and cut.
    """
    places, shown = [place(name) for name in names], [broken(name) for name in names]
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
    shown = {"tickvals": list(range(len(names))), "ticktext": [label(name) for name in names]}
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


def fill(number: int, *, patterned: bool = True) -> dict[str, Any]:
    """How the bars of a series look: a hue, and a pattern of lines over it."""
    shape = PATTERNS[number % len(PATTERNS) if patterned else number // len(PALETTE) % 8]
    return {
        "color": PALETTE[number % len(PALETTE)],
        "line": {"color": "var(--card)", "width": 1},
        "pattern": {
            "shape": shape,
            "fillmode": "overlay",  # lines over the hue, not in place of it
            "size": 7,
            "solidity": 0.25,
            "fgcolor": "var(--card)",
            "fgopacity": 0.45,  # so that what is written over it can be read
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


def most_lines(names: Sequence[str]) -> int:
    """Of the labels of an axis of names."""
    return max((len(_lines(name, LABEL_LINE, LONGEST_LABEL)) for name in names), default=1)


def rows_height(names: Sequence[str]) -> int:
    """Pixels of a plot with a row for each name, high enough for the name's lines."""
    return max(1, len(names)) * max(ROW_PIXELS, LINE_PIXELS * most_lines(names) + 2)


def columns_width(count: int, pixels: int) -> int:
    """The least width of a chart of `count` columns that are read down to `pixels` each."""
    return BESIDE_PIXELS + count * pixels


def _cut(line: str, longest: int) -> str:
    """At most so many characters: names of one folder or network differ at both ends."""
    if len(line) <= longest:
        return line
    head, tail = longest // 2, longest - longest // 2 - 1
    return f"{line[:head].rstrip()}…{line[-tail:].lstrip()}"


def _lines(text: str, line: int, longest: int) -> list[str]:
    """Broken after words and parts of a path as far as those are short enough."""
    lines = [""]
    for part in PARTS.findall(_cut(one_line(text), longest)):
        for start in range(0, len(part), line):
            piece = part[start : start + line]
            if lines[-1] and len((lines[-1] + piece).rstrip()) > line:
                lines.append("")
            lines[-1] += piece
    return [one.rstrip() for one in lines]
