"""A search as a page: the best so far, and what was measured over two axes.

One self-contained HTML file; it loads nothing when it is opened. Needs plotly (the extra `plot`).
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from gemmbench.space import Value
from gemmbench.trial import Trial
from gemmbench_results.report.web.searches import Point, milliseconds, tile_map


def search_page(trials: Sequence[Trial], axes: tuple[str, ...] | None = None) -> str:
    """An HTML page with two figures for each layer and contender that was searched.

    `axes` are the two of the heat maps; without them those whose values explain most of the times.
    """
    import plotly.io

    groups: dict[str, list[Point]] = {}
    for trial in trials:
        if trial.purpose == "tune":
            title = f"{trial.suite} {trial.layer}: {trial.contender.label()}"
            groups.setdefault(title, []).append((dict(trial.contender.config), milliseconds(trial)))
    parts = []
    for title, points in groups.items():
        parts.append(f"<h2>{escape(title)}</h2>")
        for figure in (_progress(points), _heat_map(points, axes)):
            library = "inline" if len(parts) == 1 else False
            html = plotly.io.to_html(
                figure,
                config={"showSendToCloud": False, "plotlyServerURL": ""},  # no button that uploads
                full_html=False,
                include_plotlyjs=library == "inline",
            )
            parts.append(html)
    body = "\n".join(parts) or "<p>No config was measured.</p>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>gemmbench tune</title></head>\n<body>\n{body}\n</body></html>\n"
    )


def _progress(points: Sequence[Point]) -> Any:
    from plotly.graph_objects import Figure, Scatter

    times = [np.nan if ms is None else ms for _, ms in points]
    numbers = list(range(1, len(times) + 1))
    best = np.fmin.accumulate(times).tolist()
    figure = Figure(
        [
            Scatter(
                x=numbers,
                y=times,
                mode="markers",
                name="measured",
                text=[_text(config) for config, _ in points],
            ),
            Scatter(x=numbers, y=best, mode="lines", name="best so far", line_shape="hv"),
        ]
    )
    figure.update_layout(xaxis_title="evaluations", yaxis_title="ms a call", yaxis_type="log")
    return figure


def _heat_map(points: Sequence[Point], axes: tuple[str, ...] | None) -> Any:
    """The fastest time for each pair of values of two axes; white where nothing was measured."""
    from plotly.graph_objects import Figure, Heatmap

    found = tile_map(points, axes)
    if found is None:
        return Figure()
    figure = Figure(
        Heatmap(
            z=found.ms,
            x=found.columns,
            y=found.rows,
            colorscale="Viridis_r",
            colorbar_title="best ms",
        )
    )
    figure.update_layout(xaxis_title=found.across, yaxis_title=found.down)
    figure.update_xaxes(type="category")
    figure.update_yaxes(type="category")
    return figure


def _text(config: dict[str, Value]) -> str:
    return " ".join(f"{name}={value}" for name, value in config.items())
