"""The file: one HTML page that holds its charts, its table and the library that draws them.

Nothing is loaded when it is opened: a Content-Security-Policy of the page's own forbids it, and
allows exactly the scripts in it by their hashes. Text from suites and machines is escaped where it
enters HTML (`escape`), JSON (`json_text`) and Plotly's labels (`labels`).
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from gzip import compress
from hashlib import sha256
from html import escape
from importlib.resources import files
from math import inf
from typing import Any

from gemmbench.errors import GemmbenchError
from gemmbench_results.report.web import summary
from gemmbench_results.report.web.chart import Chart
from gemmbench_results.report.web.charts import algorithm_charts, run_charts
from gemmbench_results.report.web.evidence import Evidence
from gemmbench_results.report.web.search_charts import history_chart, search_charts
from gemmbench_results.report.web.speeds import Counts
from gemmbench_results.report.web.trials import COLUMNS, MOST_ROWS, Cell, Row, trial_rows

MOST_CLAUSES = 6  # more make a paragraph that nobody reads
PURPOSES = {"race": "races", "tune": "searches", "share": "shared configs", "check": "checks"}


def plotly_source() -> str:
    """plotly.js, as the plotly package ships it. Raises GemmbenchError without the package."""
    try:
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError as error:
        raise GemmbenchError(
            "report: needs plotly, which draws its charts. Run: pip install 'gemmbench[plot]'"
        ) from error
    source: str = get_plotlyjs()
    return source


def report_page(evidence: Evidence, counts: Counts, database: str, plotly: str) -> str:
    """The page. `plotly` is the source of plotly.js; `counts` how often a layer is repeated."""
    groups = (
        ("speed", "Time and rate", run_charts(evidence, counts)),
        ("how", "Algorithms", algorithm_charts(evidence)),
        ("search", "Tile sizes", search_charts(evidence)),
        ("time", "Over time", [history_chart(evidence)]),
    )
    charts = [chart for _, _, own in groups for chart in own]
    script = _asset("page.js")
    title = f"{evidence.suite} on {evidence.run.machine.cpu}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(script, plotly)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="gemmbench {escape(evidence.run.gemmbench_version)}">
<title>gemmbench: {escape(title)}</title>
<style>
{_asset("page.css")}</style>
</head>
<body>
<header>
{_header(evidence)}
{_tiles(summary.tiles(evidence.trials, counts))}
<nav aria-label="Sections">{_links([*groups, *LAST_SECTIONS])}</nav>
</header>
<main>
<noscript><p>Scripts are off: no chart is drawn, but its figures are below it.</p></noscript>
{"".join(_section(key, name, own) for key, name, own in groups)}
{_trials(evidence)}
{_about(evidence, database)}
</main>
<footer>Made by gemmbench from its database. Charts: Plotly.js, MIT licence, in this file.</footer>
<script type="application/json" id="figures">{json_text(_figures(charts))}</script>
<script type="application/octet-stream" id="plotly">{_packed(plotly)}</script>
<script>{script}</script>
</body>
</html>
"""


LAST_SECTIONS = (("trials", "All trials", ()), ("about", "Machine and protocol", ()))


def json_text(data: Any) -> str:
    """JSON that may stand in a script element: nothing in it ends the element or opens a comment.

    Raises ValueError for a number that is not finite.
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def threads_text(threads: int) -> str:
    """'1 thread', '2 threads'."""
    return f"{threads} thread{'s' * (threads != 1)}"


def _policy(*scripts: str) -> str:
    """Nothing from anywhere; these scripts; styles, for Plotly sets them; images made in place."""
    hashes = " ".join(
        f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _packed(source: str) -> str:
    """The same bytes for the same source: no time of day in it."""
    return b64encode(compress(source.encode(), 9, mtime=0)).decode()


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _header(evidence: Evidence) -> str:
    run = evidence.run
    return (
        f"<p class=brand>gemmbench report</p>\n<h1>{escape(evidence.suite)}</h1>\n"
        f"<p class=where>{escape(run.machine.cpu)} ({escape(run.machine.microarchitecture)}), "
        f"{threads_text(run.protocol.threads)} · run {run.number}, "
        f"{escape(run.started_at[:10])}</p>\n"
        f"<p class=lead>{escape(summary.headline(evidence.trials))}</p>\n"
        f"{_said(*summary.said(evidence.trials))}"
    )


def _said(winners: Sequence[str], others: Sequence[str]) -> str:
    """What won where, as a list to be opened where that is much, and the other sentences."""
    if len(winners) <= MOST_CLAUSES:
        return _list([*([f"{'; '.join(winners)}."] if winners else []), *others])
    title = f"Who is fastest where, in {len(winners)} lines"
    return f"<details><summary>{title}</summary>{_list(winners)}</details>{_list(others)}"


def _list(texts: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul class=said>{items}</ul>" if texts else ""


def _tiles(shown: Iterable[summary.Tile]) -> str:
    boxes = "".join(
        f"<div><dt>{escape(tile.name)}</dt><dd>{escape(tile.value)}</dd>"
        f"{f'<dd class=note>{escape(tile.note)}</dd>' if tile.note else ''}</div>"
        for tile in shown
    )
    return f"<dl class=tiles>{boxes}</dl>"


def _links(groups: Iterable[tuple[str, str, Any]]) -> str:
    return "".join(f'<a href="#{key}">{escape(name)}</a>' for key, name, _ in groups)


def _section(key: str, name: str, charts: Sequence[Chart]) -> str:
    own = "\n".join(_chart(chart) for chart in charts)
    return f'<section id="{key}"><h2>{escape(name)}</h2>\n{own}\n</section>\n'


def _chart(chart: Chart) -> str:
    """Title, sentence, what to choose from, a place to draw in, and the figures as a table."""
    head = f"<h3>{escape(chart.title)}</h3>\n<p id={chart.key}-says>{escape(chart.caption)}</p>"
    if not chart.views:
        return f'<article id="{chart.key}" class=empty>{head}</article>'
    options = "".join(f"<option>{escape(view.name)}</option>" for view in chart.views)
    chooser = (
        f"<label for={chart.key}-view>Show</label> "
        f"<select id={chart.key}-view data-for={chart.key}>{options}</select>"
    )
    return (
        f'<article id="{chart.key}">{head}\n{chooser if len(chart.views) > 1 else ""}'
        f'<div class=frame data-name="{escape(chart.title)}, to be scrolled">'
        f'<div class=chart data-chart={chart.key} role=img aria-label="{escape(chart.title)}" '
        f"aria-describedby={chart.key}-says></div></div>\n"
        f"<details><summary>The figures as a table</summary>{_table(chart)}</details></article>"
    )


def _table(chart: Chart) -> str:
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in chart.columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in chart.rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return _scrolled(f"{chart.title} as a table", table)


def _scrolled(name: str, table: str) -> str:
    """`table` where it may be wider than the page, to be scrolled by the keyboard as well."""
    region = f'class=scroll role=region tabindex=0 aria-label="{escape(name)}"'
    return f"<div {region}>{table}</div>"


def _figures(charts: Iterable[Chart]) -> dict[str, list[Any]]:
    return {chart.key: [dict(view.figure) for view in chart.views] for chart in charts}


def _trials(evidence: Evidence) -> str:
    """The table of all trials, sorted by its headings and filtered by text and purpose."""
    rows = trial_rows(evidence.trials)
    left = len(evidence.trials) - len(rows)
    note = f" {left} of the searches' slower trials are left out." if left else ""
    purposes = dict.fromkeys(row.purpose for row in rows)
    options = "".join(f"<option value={name}>{PURPOSES[name]}</option>" for name in purposes)
    head = "".join(
        f"<th scope=col{' class=number' if column.numeric else ''}>"
        f"<button type=button>{escape(column.name)}</button></th>"
        for column in COLUMNS
    )
    table = (
        f"<table id=all aria-describedby=trials-says><thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{''.join(_row(row) for row in rows)}</tbody></table>"
    )
    return f"""<section id="trials"><h2>All trials</h2>
<p id=trials-says>Every contender of the run and every config that was searched.{note} A heading
sorts; words in the filter must all occur in a row. At most {MOST_ROWS} rows.</p>
<p class=filters>
<span><label for=filter>Filter</label>
<input type=search id=filter placeholder="conv1 numba"></span>
<span><label for=purpose>Show</label>
<select id=purpose><option value="">everything</option>{options}</select></span>
<output id=shown aria-live=polite>{len(rows)} trials</output></p>
{_scrolled("All trials", table)}</section>
"""


def _row(row: Row) -> str:
    cells = "".join(
        f"<td{' class=number' if column.numeric else ''}"
        f"{_sort_key(cell) if column.numeric else ''}>{escape(cell.text)}</td>"
        for cell, column in zip(row.cells, COLUMNS, strict=True)
    )
    return f'<tr data-purpose="{escape(row.purpose)}" class={escape(row.state)}>{cells}</tr>\n'


def _sort_key(cell: Cell) -> str:
    """As JavaScript reads numbers; none where there is nothing to see."""
    number = "Infinity" if cell.key == inf else repr(cell.key)
    return f" data-key={number}" if cell.text else ""


def _about(evidence: Evidence, database: str) -> str:
    run = evidence.run
    parts = (
        ("The run", summary.run_facts(run, database)),
        ("The machine", summary.machine_facts(run.machine)),
        ("The software", summary.software_facts(run)),
        ("The protocol", summary.protocol_facts(run)),
    )
    lists = "".join(
        f"<article><h3>{name}</h3><dl>"
        + "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts)
        + "</dl></article>"
        for name, facts in parts
    )
    return (
        '<section id="about"><h2>Machine and protocol</h2>\n'
        f"<div class=facts>{lists}</div></section>"
    )
