"""What every chart is made of: its figure, its words, its figures as text, and how it looks.

Colours are names of CSS variables, which the page's script replaces by what they are in a light or
a dark page. Nothing is told by colour alone: series differ by pattern, marker or dash as well, and
cells and segments carry their values. Hues: Okabe & Ito, "Color Universal Design", 2008.
"""

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
ROW_PIXELS = 26
FRAME_PIXELS = 110  # axis, legend and margins

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
    line = one_line(text)
    cut = line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
    return escape(cut, quote=False)


def hover(*lines: str) -> str:
    """Lines of a hover text, markup taken out of them."""
    return "<br>".join(label(line, 160) for line in lines if line)


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


def logarithmic(title: str) -> dict[str, Any]:
    """An axis of ratios."""
    return {**axis(title), "type": "log", "dtick": "D2"}


def categories(names: Sequence[str], title: str = "") -> dict[str, Any]:
    """An axis of names in that order, so that none is taken for a number or a date.

    What stands at a name has to name it by `place`. Long ones are shown cut.
    """
    places, shown = [place(name) for name in names], [label(name) for name in names]
    listed = {"type": "category", "categoryorder": "array", "categoryarray": places}
    cut = {"tickmode": "array", "tickvals": places, "ticktext": shown} if shown != places else {}
    return {**axis(title), **listed, **cut}


def cells(names: Sequence[str], title: str = "") -> dict[str, Any]:
    """An axis of a heat map: names without lines behind the cells."""
    return {**categories(names, title), "showgrid": False, "ticks": ""}


def downwards(names: Sequence[str], title: str = "") -> dict[str, Any]:
    """A vertical axis of names, the first of them on top."""
    return {**categories(names, title), "autorange": "reversed"}


def layout(height: int) -> dict[str, Any]:
    """A layout with the page's look, without axes."""
    return {
        "height": height,
        "autosize": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "var(--ink)"},
        "margin": {"l": 10, "r": 16, "t": 16, "b": 10},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "traceorder": "normal",
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


def rows_height(rows: int, series: int = 1) -> int:
    """Pixels of a chart of horizontal bars, `series` of them a row."""
    return FRAME_PIXELS + max(1, rows) * max(ROW_PIXELS, 14 * series + 8)


def colorbar(title: str) -> dict[str, Any]:
    """A narrow scale beside a heat map."""
    return {
        "title": {"text": title},
        "thickness": 12,
        "outlinewidth": 0,
        "tickcolor": "var(--line)",
    }
