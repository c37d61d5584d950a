"""Figures of searches and of the history.

All that a user could have written passes a function of `labels`.
"""

from collections.abc import Sequence
from typing import Any

from gemmbench_results.report.table import digits, seconds_text
from gemmbench_results.report.web.chart import (
    HEAT,
    Figure,
    axis,
    categories,
    cells,
    columns_width,
    from_zero,
    layout,
    stroke,
)
from gemmbench_results.report.web.labels import (
    LEGEND_LINE,
    broken,
    hover,
    label,
    legend_labels,
    place,
)
from gemmbench_results.report.web.lines import Line
from gemmbench_results.report.web.searches import Improvement, Search, TileMap


def search_figure(found: Sequence[tuple[Search, Sequence[Improvement]]]) -> Figure:
    """The best so far of each search of a layer, in GFLOP/s over evaluations."""
    data = []
    longest = max(len(search.trials) for search, _ in found)
    legends = legend_labels([search.contender for search, _ in found])
    for number, (search, steps) in enumerate(found):
        last = len(search.trials)
        ends = [*steps, steps[-1]]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": legends[number],
                "x": [*(step.evaluation for step in steps), last],
                "y": [step.gflops for step in ends],
                "hovertext": [
                    hover(
                        f"{search.contender}, evaluation {step.evaluation} of {last}",
                        f"{seconds_text(step.seconds)}, {digits(step.gflops, 3)} GFLOP/s",
                        step.config,
                    )
                    for step in ends
                ],
                "hoverinfo": "text",
                **stroke(number),
            }
        )
        data[-1]["line"] = {**stroke(number)["line"], "shape": "hv"}
    return {
        "data": data,
        "layout": {
            **layout(290),
            "xaxis": {**axis("configs measured"), "tick0": 0, "dtick": _tick(longest)},
            "yaxis": axis("GFLOP/s of the best so far"),
        },
    }


def _tick(longest: int) -> int:
    """A whole distance between ticks, about ten of them."""
    rough = max(1, longest // 10)
    return rough if rough < 10 else 10 * (rough // 10)


def tiles_figure(found: TileMap) -> Figure:
    """The fastest time for each pair of values of two axes; nothing where nothing was timed."""
    return {
        "data": [
            {
                "type": "heatmap",
                "x": [place(value) for value in found.columns],
                "y": [place(value) for value in found.rows],
                "z": [list(row) for row in found.ms],
                "text": [["" if ms is None else digits(ms, 3) for ms in row] for row in found.ms],
                "texttemplate": "%{text}",
                "hoverinfo": "x+y+z",
                "colorscale": HEAT,
                "reversescale": True,
                "xgap": 1,
                "ygap": 1,
                "showscale": False,
            }
        ],
        "layout": {
            **layout(30 * max(3, len(found.rows)), columns_width(len(found.columns), 46)),
            "xaxis": cells(found.columns, title=label(found.across)),
            "yaxis": cells(found.rows, title=label(found.down)),
        },
    }


def history_figure(found: Sequence[Line]) -> Figure:
    """A layer's lines over runs; a large open circle is where a step begins."""
    runs = sorted({point.run for line in found for point in line.points})
    several = len({line.group for line in found}) > 1
    data: list[dict[str, Any]] = []
    for number, line in enumerate(found):
        steps = dict(line.steps)
        group = f", machine and software {line.group + 1}" if several else ""
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": broken(f"{line.contender} (over {line.reference}{group})", LEGEND_LINE, 99),
                "x": [f"run {point.run}" for point in line.points],
                "y": [point.value for point in line.points],
                "hovertext": [
                    hover(
                        f"{line.contender}: {digits(point.value, 4)} times {line.reference}",
                        f"{seconds_text(point.seconds)}, {point.started_at[:16]} UTC",
                        steps.get(index, ""),
                    )
                    for index, point in enumerate(line.points)
                ],
                "hoverinfo": "text",
                **stroke(number),
            }
        )
        data[-1]["marker"] = {
            **stroke(number)["marker"],
            "size": [15 if index in steps else 8 for index in range(len(line.points))],
        }
    return {
        "data": data,
        "layout": {
            **layout(300),
            "xaxis": categories([f"run {run}" for run in runs]),
            "yaxis": from_zero("time over the reference's"),
        },
    }
