"""The report as a file: what it holds, what it escapes, and that it loads nothing."""

import json
import re
from base64 import b64decode, b64encode
from dataclasses import replace
from gzip import decompress
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest
from example_trials import CONV1, blas, trial

from gemmbench_results.report.web.chart import LINES_OPACITY, PALETTE, Chart, ink
from gemmbench_results.report.web.chart import fill as bar
from gemmbench_results.report.web.charts import algorithm_charts, run_charts, share_text
from gemmbench_results.report.web.evidence import Evidence, gather
from gemmbench_results.report.web.page import json_text, plotly_source, report_page
from gemmbench_results.report.web.search_charts import history_chart, search_charts
from gemmbench_results.store import open_store
from report_example import HOSTILE, fill, full_trials

LIBRARY = "window.Plotly = {};"
KEYS = ["network", "rates", "roofline", "algorithms", "kernels", "stages", "curves", "tiles",
        "history"]  # fmt: skip


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    with open_store(tmp_path / "results.db") as store:
        fill(store, full_trials(), runs=3)
        return gather(store)


@pytest.fixture
def bare(tmp_path: Path) -> Evidence:
    """A run in which one contender was timed once, and nothing else."""
    with open_store(tmp_path / "bare.db") as store:
        fill(store, [trial("conv1", CONV1, blas("im2col"), 0.01, peak_flops=None, peak_bytes=None)])
        return gather(store)


def charts(evidence: Evidence) -> list[Chart]:
    return [
        *run_charts(evidence, {}),
        *algorithm_charts(evidence),
        *search_charts(evidence),
        history_chart(evidence),
    ]


class Elements(HTMLParser):
    """Start tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data


def test_every_chart_of_a_full_database_has_something_to_draw(evidence: Evidence) -> None:
    found = charts(evidence)
    assert [chart.key for chart in found] == KEYS
    assert all(chart.views and chart.rows for chart in found)
    assert all(len(row) == len(chart.columns) for chart in found for row in chart.rows)


def test_plotly_knows_every_property_of_every_figure(evidence: Evidence) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects", reason="needs the extra plot")
    for chart in charts(evidence):
        for view in chart.views:
            resolved = re.sub(r"var\(--[a-z0-9]+\)", "#123456", json.dumps(view.figure))
            graph_objects.Figure(json.loads(resolved))  # raises for what it does not know


def test_a_chart_without_data_says_so_and_draws_no_box(bare: Evidence) -> None:
    empty = {chart.key: chart.caption for chart in charts(bare) if not chart.views}
    assert set(empty) == {"algorithms", "kernels", "stages", "curves", "tiles", "history"}
    assert all(re.match(r"(No|Nothing) ", text) for text in empty.values())
    page = report_page(bare, {}, "bare.db", LIBRARY)
    drawn = [attrs for tag, attrs in Elements(page).tags if attrs.get("class") == "chart"]
    assert [attrs["data-chart"] for attrs in drawn] == ["network", "rates", "roofline"]
    assert "made without a peak" in page
    assert "made without a bandwidth" in page


def test_a_search_of_one_config_is_not_said_to_be_missing(evidence: Evidence) -> None:
    short = replace(evidence, searches=replace(evidence.searches,
                                               trials=evidence.searches.trials[:1]))  # fmt: skip
    captions = {chart.caption for chart in search_charts(short)}
    assert captions == {
        "No search to draw: none timed more than one config. Give it more --budget."
    }


def test_text_from_suites_and_backends_is_text_everywhere(evidence: Evidence) -> None:
    page = report_page(evidence, {}, "results.db", LIBRARY)
    found = Elements(page)
    assert HOSTILE in found.text
    assert "<u>lib</u>" in found.text
    assert "a note with <b>markup</b>" in found.text
    assert [tag for tag, _ in found.tags if tag in ("b", "i", "u")] == []
    assert [tag for tag, _ in found.tags].count("script") == 3
    assert "alert(1)</script>" not in page


@pytest.mark.parametrize(("threads", "text"), [(1, "1 thread "), (2, "2 threads ")])
def test_the_head_counts_threads_in_english(evidence: Evidence, threads: int, text: str) -> None:
    run = replace(evidence.run, protocol=replace(evidence.run.protocol, threads=threads))
    assert f", {text}" in Elements(report_page(replace(evidence, run=run), {}, "", LIBRARY)).text


def test_a_table_that_may_be_too_wide_is_scrolled_by_the_keyboard_too(evidence: Evidence) -> None:
    tags = Elements(report_page(evidence, {}, "results.db", LIBRARY)).tags
    scrolled = [attrs for _, attrs in tags if attrs.get("class") == "scroll"]
    assert len(scrolled) == len(KEYS) + 1
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in scrolled)


def test_without_scripts_the_page_says_where_the_figures_are(evidence: Evidence) -> None:
    page = report_page(evidence, {}, "results.db", LIBRARY)
    assert "<noscript><p>Scripts are off" in page


def test_the_note_of_a_tile_comes_after_its_name_and_value(evidence: Evidence) -> None:
    page = report_page(evidence, {}, "results.db", LIBRARY)
    assert re.search(r"<dt>configs searched</dt><dd>6</dd><dd class=note>each verified", page)


def test_no_label_of_any_figure_holds_markup_of_a_user(evidence: Evidence) -> None:
    text = json.dumps([[dict(view.figure) for view in chart.views] for chart in charts(evidence)])
    assert "&lt;script&gt;" in text
    assert set(re.findall(r"</?[a-z]+", text)) == {"<br"}


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0028, "0.3 %"),
        (0.9972, "99.7 %"),
        (0.72, "72 %"),
        (1.0, "100 %"),
        (1e-6, "less than 0.1 %"),
        (1 - 1e-6, "more than 99.9 %"),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(share: float, text: str) -> None:
    assert share_text(share) == text


def head_of(evidence: Evidence) -> str:
    page = report_page(evidence, {}, "results.db", LIBRARY)
    return page.partition("<header>")[2].partition("<dl class=tiles>")[0]


def test_many_winners_are_a_list_to_be_opened_and_what_was_not_ranked_is_beside_it(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "<details>" not in head_of(evidence)
    monkeypatch.setattr("gemmbench_results.report.web.page.MOST_CLAUSES", 2)
    inside, _, beside = head_of(evidence).partition("</details>")
    lines = int(inside.partition("Who is fastest where, in ")[2].split()[0])
    assert inside.count("<li>") == lines > 2
    assert "Not ranked: " in beside
    assert "Not ranked: " not in inside


def test_a_name_with_a_semicolon_stays_one_clause(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemmbench_results.report.web.page.MOST_CLAUSES", 0)
    own = [replace(one, layer="a; b") for one in evidence.trials if one.layer == "fc6"]
    assert re.search(r"<li>[^<]* on [^<]*a; b</li>", head_of(replace(evidence, trials=own)))


def colours(scheme: str) -> dict[str, str]:
    """The variables of the page's style sheet in a light or a dark page."""
    css = files("gemmbench_results.report.web").joinpath("page.css").read_text(encoding="utf-8")
    light, dark = css.split("@media (prefers-color-scheme: dark)", 1)
    own = re.findall(r"(--\w+): (#\w{6})", light)
    other = re.findall(r"(--\w+): (#\w{6})", dark.split("\n}", 1)[0])
    return dict(own) if scheme == "light" else dict(own + other)


def luminance(colour: str) -> float:
    """Source: WCAG 2.2, relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def mixed(found: dict[str, str], number: int) -> str:
    """A hue where a line of its pattern is over it."""
    over, hue = found[bar(number)["pattern"]["fgcolor"][4:-1]], found[PALETTE[number][4:-1]]
    parts = [
        LINES_OPACITY * int(over[i : i + 2], 16) + (1 - LINES_OPACITY) * int(hue[i : i + 2], 16)
        for i in (1, 3, 5)
    ]
    return "#" + "".join(f"{round(part):02x}" for part in parts)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_under_it(scheme: str) -> None:
    """By 4.5, which WCAG 2.2 asks for (1.4.3)."""
    found = colours(scheme)
    pairs = [(ink(number), f"--s{number}") for number in range(8)]
    pairs += [(f"var({text})", paper) for text in ("--ink", "--soft", "--link", "--bad")
              for paper in ("--paper", "--card")]  # fmt: skip
    found |= {f"--p{number}": mixed(found, number) for number in range(8)}
    pairs += [(ink(number), f"--p{number}") for number in range(8)]
    for text, under in pairs:
        one, two = sorted([luminance(found[text[4:-1]]), luminance(found[under])])
        assert (two + 0.05) / (one + 0.05) >= 4.5, (text, under)


def test_the_roofs_of_the_roofline_meet(evidence: Evidence) -> None:
    far = [t for t in evidence.trials if t.layer == "conv1"]  # right of where the roofs meet
    chart = next(c for c in run_charts(replace(evidence, trials=tuple(far)), {})
                 if c.key == "roofline")  # fmt: skip
    lines = {one["name"]: one for one in chart.views[0].figure["data"] if "lines" in one["mode"]}
    assert lines["peak"]["x"][0] == lines["reading memory"]["x"][1]
    assert lines["peak"]["y"][0] == lines["reading memory"]["y"][1]


def test_json_in_a_script_cannot_end_it_and_must_be_finite() -> None:
    text = json_text({"name": "</script><!-- & \u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"name": "</script><!-- & \u2028"}
    with pytest.raises(ValueError, match="JSON compliant"):
        json_text([float("nan")])


def test_the_policy_allows_the_two_scripts_by_hash_and_nothing_from_anywhere(
    evidence: Evidence,
) -> None:
    page = report_page(evidence, {}, "results.db", LIBRARY)
    policy = next(
        str(attrs["content"])
        for _, attrs in Elements(page).tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    own = page.rpartition("<script>")[2].partition("</script>")[0]
    hashes = [
        f"'sha256-{b64encode(sha256(one.encode()).digest()).decode()}'" for one in (own, LIBRARY)
    ]
    assert rules["script-src"].split() == hashes
    assert rules["default-src"] == "'none'"
    assert not re.search(r"(src|href)\s*=\s*['\"]?(https?:)?//", page)


def test_the_library_is_in_the_page_and_the_same_database_gives_the_same_page(
    evidence: Evidence,
) -> None:
    page = report_page(evidence, {}, "results.db", LIBRARY)
    packed = page.partition('id="plotly">')[2].partition("</script>")[0]
    assert decompress(b64decode(packed)).decode() == LIBRARY
    assert report_page(evidence, {}, "results.db", LIBRARY) == page


def test_a_report_is_under_six_megabytes_with_thousands_of_configs(evidence: Evidence) -> None:
    pytest.importorskip("plotly", reason="needs the extra plot")
    many = Evidence(
        evidence.suite, evidence.run, evidence.trials * 250, evidence.stages, evidence.searches,
        evidence.races, evidence.history,
    )  # fmt: skip
    page = report_page(many, {}, "results.db", plotly_source())
    assert len(page.encode()) < 6e6
