"""A search as a page: the best so far, and what was measured over two axes.

One self-contained HTML file; it loads nothing when it is opened. Needs plotly (the extra `plot`).
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from gemmbench.space import Value
from gemmbench.stats import summarize
from gemmbench.trial import Trial, TrialState

Point = tuple[dict[str, Value], float | None]  # a config and its milliseconds, None if it failed


def search_page(trials: Sequence[Trial], axes: tuple[str, ...] | None = None) -> str:
    """An HTML page with two figures for each layer and contender that was searched.

    `axes` are the two of the heat maps; without them those whose values explain most of the times.
    """
    import plotly.io

    groups: dict[str, list[Point]] = {}
    for trial in trials:
        if trial.purpose == "tune":
            title = f"{trial.suite} {trial.layer}: {trial.contender.label()}"
            groups.setdefault(title, []).append((dict(trial.contender.config), _ms(trial)))
    parts = []
    for title, points in groups.items():
        parts.append(f"<h2>{escape(title)}</h2>")
        for figure in (_progress(points), _heat_map(points, axes)):
            library = "inline" if len(parts) == 1 else False
            html = plotly.io.to_html(figure, full_html=False, include_plotlyjs=library == "inline")
            parts.append(html)
    body = "\n".join(parts) or "<p>No config was measured.</p>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>gemmbench tune</title></head>\n<body>\n{body}\n</body></html>\n"
    )


def _ms(trial: Trial) -> float | None:
    complete = trial.state is TrialState.COMPLETE and bool(trial.measurement)
    return 1e3 * summarize(trial.measurement).median if complete else None


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

    names = [name for name in axes or () if name in points[0][0]]
    names = (names + [name for name in telling_axes(points) if name not in names])[:2]
    if len(names) < 2:
        return Figure()
    across, down = (sorted({config[name] for config, _ in points}, key=_order) for name in names)
    cells = np.full((len(down), len(across)), np.nan)
    for config, ms in points:
        if ms is not None:
            at = down.index(config[names[1]]), across.index(config[names[0]])
            cells[at] = np.fmin(cells[at], ms)
    figure = Figure(
        Heatmap(
            z=[[None if np.isnan(ms) else float(ms) for ms in row] for row in cells],
            x=[str(value) for value in across],
            y=[str(value) for value in down],
            colorscale="Viridis_r",
            colorbar_title="best ms",
        )
    )
    figure.update_layout(xaxis_title=names[0], yaxis_title=names[1])
    figure.update_xaxes(type="category")
    figure.update_yaxes(type="category")
    return figure


def telling_axes(points: Sequence[Point]) -> list[str]:
    """The axes, first the one whose values explain most of the variance of the log times."""
    right = [(config, float(np.log(ms))) for config, ms in points if ms is not None]

    def explained(name: str) -> float:
        groups: dict[Value, list[float]] = {}
        for config, log_ms in right:
            groups.setdefault(config[name], []).append(log_ms)
        means = [np.mean(group) for group in groups.values() for _ in group]
        return float(np.var(means)) if len(groups) > 1 else -1.0

    return sorted(points[0][0], key=explained, reverse=True) if right else list(points[0][0])


def _order(value: Value) -> tuple[bool, float, str]:
    return isinstance(value, str), 0.0 if isinstance(value, str) else float(value), str(value)


def _text(config: dict[str, Value]) -> str:
    return " ".join(f"{name}={value}" for name, value in config.items())
