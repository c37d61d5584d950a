"""Figures of algorithms and their stages.

All that a user could have written passes a function of `labels`.
"""

from collections.abc import Sequence
from math import log10
from typing import Any

from gemmbench_results.report.table import seconds_text
from gemmbench_results.report.web.algorithms import Cell, Ratios, Staged
from gemmbench_results.report.web.chart import (
    HEAT,
    LINE_PIXELS,
    NO_LINES,
    PALETTE,
    Figure,
    cells,
    columns_width,
    downwards,
    fill,
    from_zero,
    ink,
    layout,
    rows_height,
)
from gemmbench_results.report.web.labels import broken, hover, legend_labels, most_lines, place

SLOWEST_SHADE = 16.0  # times the fastest; whatever is slower looks no different
NUMBER_PIXELS, NAME_PIXELS = 46, 110  # of a cell with a ratio and of one with a name, at least
CELL_LINE = 15  # characters of a line in a cell of NAME_PIXELS
SLANTED_LINE = 25  # of a line of a contender's name, which stands at half a right angle
SLANTED_PIXELS = 140  # of the layers' names, and of the last contender's beyond its column


def ratios_figure(found: Ratios) -> Figure:
    """Layers down, contenders across, the time over the fastest in each cell."""
    return {
        "data": [
            {
                "type": "heatmap",
                "x": [place(name) for name in found.contenders],
                "y": [place(name) for name in found.layers],
                "z": [[_shade(ratio) for ratio in row] for row in found.ratios],
                "text": [[ratio_text(ratio) for ratio in row] for row in found.ratios],
                "texttemplate": "%{text}",
                "hovertext": [
                    [
                        ""
                        if ratio is None or seconds is None
                        else hover(
                            f"{layer}: {name}",
                            f"{seconds_text(seconds)}, {ratio_text(ratio)} the fastest",
                        )
                        for name, ratio, seconds in zip(
                            found.contenders, found.ratios[row], found.seconds[row], strict=True
                        )
                    ]
                    for row, layer in enumerate(found.layers)
                ],
                "hoverinfo": "text",
                "colorscale": HEAT,
                "reversescale": True,
                "zmin": 0,
                "zmax": log10(SLOWEST_SHADE),
                "xgap": 2,
                "ygap": 2,
                "showscale": False,
            }
        ],
        "layout": {
            **layout(
                max(34 * len(found.layers), rows_height(found.layers)),
                columns_width(len(found.contenders), _column(found)) + SLANTED_PIXELS,
            ),
            "xaxis": {
                **cells(found.contenders),
                "side": "top",
                "tickangle": -45,
            },
            "yaxis": {**downwards(found.layers), **NO_LINES},
        },
    }


def kernel_figure(found: Sequence[Cell]) -> Figure:
    """Kernel sizes down, strides across; the name in a cell is the fastest algorithm's."""
    strides = sorted({cell.stride for cell in found})
    kernels = sorted({cell.kernel for cell in found})
    names = sorted({cell.algorithm for cell in found})
    at = {(cell.kernel, cell.stride): cell for cell in found}
    table = [[at.get((kernel, stride)) for stride in strides] for kernel in kernels]
    steps = len(names)
    scale = [
        [edge / steps, PALETTE[number % 8]]
        for number in range(steps)
        for edge in (number, number + 1)
    ]
    return {
        "data": [
            {
                "type": "heatmap",
                "x": [pair_text(stride) for stride in strides],
                "y": [pair_text(kernel) for kernel in kernels],
                "z": [
                    [names.index(c.algorithm) + 0.5 if c else None for c in row] for row in table
                ],
                "hovertext": [[_cell_hover(cell) for cell in row] for row in table],
                "hoverinfo": "text",
                "colorscale": scale,
                "zmin": 0,
                "zmax": steps,
                "showscale": False,
                "xgap": 2,
                "ygap": 2,
            }
        ],
        "layout": {
            **layout(_row(names) * len(kernels), columns_width(len(strides), NAME_PIXELS)),
            "xaxis": cells([pair_text(s) for s in strides], title="stride"),
            "yaxis": cells([pair_text(k) for k in kernels], title="kernel"),
            "annotations": [_cell_note(cell, names.index(cell.algorithm)) for cell in found],
        },
    }


def stages_figure(contenders: Sequence[Staged], names: Sequence[str]) -> Figure:
    """One horizontal bar a contender, a segment a stage; a diamond is the whole call.

    `names` are the stages of all figures of the chart, so that a stage looks alike in each.
    """
    used = {stage for one in contenders for stage, _ in one.stages}
    legends = legend_labels(names)
    data = [
        _stage_bars(contenders, name, legends[number], number)
        for number, name in enumerate(names)
        if name in used
    ]
    return {
        "data": [*data, _whole_calls(contenders)],
        "layout": {
            **layout(rows_height([one.contender for one in contenders]) + 20),
            "barmode": "stack",
            "bargap": 0.25,
            "xaxis": from_zero("milliseconds a call"),
            "yaxis": downwards([one.contender for one in contenders]),
        },
    }


def _stage_bars(
    contenders: Sequence[Staged], stage: str, legend: str, number: int
) -> dict[str, Any]:
    """The segments of one stage, nothing where a contender does not have it."""
    seconds = [dict(one.stages).get(stage, 0.0) for one in contenders]
    return {
        "type": "bar",
        "orientation": "h",
        "name": legend,
        "y": [place(one.contender) for one in contenders],
        "x": [1e3 * own for own in seconds],
        "hovertext": [
            hover(one.contender, f"{stage}: {seconds_text(own)}") if own else ""
            for one, own in zip(contenders, seconds, strict=True)
        ],
        "hoverinfo": "text",
        "marker": fill(number),
    }


def _whole_calls(contenders: Sequence[Staged]) -> dict[str, Any]:
    """A diamond a contender."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "whole call",
        "y": [place(one.contender) for one in contenders],
        "x": [1e3 * one.seconds for one in contenders],
        "hovertext": [
            hover(one.contender, f"whole call: {seconds_text(one.seconds)}") for one in contenders
        ],
        "hoverinfo": "text",
        "marker": {
            "symbol": "diamond-open",
            "size": 11,
            "color": "var(--ink)",
            "line": {"width": 2, "color": "var(--ink)"},
        },
    }


def ratio_text(ratio: float | None) -> str:
    """'1', '1.03', '12'; '' where there is none."""
    if ratio is None:
        return ""
    return "1" if ratio == 1 else f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.0f}"


def pair_text(pair: tuple[int, int]) -> str:
    """'3×3'."""
    return f"{pair[0]}×{pair[1]}"


def _column(found: Ratios) -> int:
    return max(NUMBER_PIXELS, SLANTED_LINE * most_lines(found.contenders))


def _shade(ratio: float | None) -> float | None:
    return None if ratio is None else log10(min(ratio, SLOWEST_SHADE))


def _row(algorithms: Sequence[str]) -> int:
    """Pixels of a row of cells that name an algorithm and, below it, in how many races it wins."""
    most = max(broken(name, CELL_LINE).count("<br>") + 1 for name in algorithms)
    return LINE_PIXELS * (most + 1) + 10


def _cell_note(cell: Cell, number: int) -> dict[str, Any]:
    share = f"<br>{cell.wins} of {cell.races}" if cell.races > 1 else ""
    return {
        "x": pair_text(cell.stride),
        "y": pair_text(cell.kernel),
        "text": f"{broken(cell.algorithm, CELL_LINE)}{share}",
        "font": {"color": ink(number)},
        "showarrow": False,
    }


def _cell_hover(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return hover(
        f"kernel {pair_text(cell.kernel)}, stride {pair_text(cell.stride)}",
        f"{cell.algorithm} is fastest in {cell.wins} of {cell.races} races, surely in {cell.sure}",
        f"the next algorithm takes {cell.ratio:.2f} times as long in the median",
    )
