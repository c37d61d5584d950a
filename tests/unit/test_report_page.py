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

from gemmbench.trial import Contender, Trial
from gemmbench_results.report.web.chart import Chart, broken, ink, label
from gemmbench_results.report.web.charts import (
    algorithm_charts,
    network_chart,
    ratios_chart,
    run_charts,
    share_text,
)
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


def network_of(trials: list[Trial]) -> Chart:
    return network_chart(trials, {})


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


def test_labels_show_markup_instead_of_obeying_it() -> None:
    assert label("<a href='x'>l</a>") == "&lt;a href='x'&gt;l&lt;/a&gt;"
    assert label("a&lt;b\nc") == "a&amp;lt;b c"
    assert len(label("x" * 99)) == 44


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    for name in ("one", "two"):
        shown = label(f"./a/folder/whose/path/is/long/enough/{name}.py:Kernel")
        assert re.fullmatch(rf"\./a/folder/.*….*/{name}\.py:Kernel", shown)
        assert len(shown) == 44


def test_a_name_is_broken_at_words_and_at_parts_of_a_path_and_loses_no_letter() -> None:
    assert broken("numba winograd prepared") == "numba winograd<br>prepared"
    assert broken("./a/folder/of/kernels/one.py:K") == "./a/folder/of/<br>kernels/one.py:K"
    assert broken("x" * 30) == f"{'x' * 20}<br>{'x' * 10}"
    assert broken("a <b> c") == "a &lt;b&gt; c"


def test_no_label_of_any_figure_holds_markup_of_a_user(evidence: Evidence) -> None:
    text = json.dumps([[dict(view.figure) for view in chart.views] for chart in charts(evidence)])
    assert "&lt;script&gt;" in text
    assert set(re.findall(r"</?[a-z]+", text)) == {"<br"}


@pytest.mark.parametrize(
    ("chart", "axis", "rest"), [(ratios_chart, "xaxis", " direct"), (network_of, "yaxis", "")]
)
def test_names_that_differ_at_their_end_keep_places_of_their_own(chart, axis, rest) -> None:
    folder = "./a/folder/of/kernels/whose/path/is/long/enough/to/be/cut"
    names = [f"{folder}/{name}.py:K" for name in ("first", "second")]
    found = chart([trial("conv1", CONV1, Contender(name, "direct"), 0.01) for name in names])
    shown = found.views[0].figure["layout"][axis]
    assert shown["categoryarray"][-2:] == [f"{name}{rest}" for name in names]
    assert shown["tickvals"] == shown["categoryarray"]
    texts = [text.replace("<br>", "") for text in shown["ticktext"]]
    assert len(set(texts)) == len(texts)
    assert max(map(len, texts)) in (43, 44)  # a space at a break goes


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0028, "0.3 %"), (0.9972, "99.7 %"), (1e-6, "0.1 %"), (0.72, "72 %"), (1.0, "100 %")],
)
def test_a_share_is_never_rounded_to_none_or_all(share: float, text: str) -> None:
    assert share_text(share) == text


def test_many_clauses_are_a_list_to_be_opened(evidence: Evidence) -> None:
    tags = Elements(report_page(evidence, {}, "results.db", LIBRARY))
    assert "Who is fastest where, in 7 lines" in tags.text
    few = replace(evidence, trials=evidence.trials[:3])
    assert "Who is fastest where" not in report_page(few, {}, "results.db", LIBRARY)


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_under_it(scheme: str) -> None:
    """By 4.5, which WCAG 2.2 asks for (1.4.3)."""
    found = colours(scheme)
    pairs = [(ink(number), f"--s{number}") for number in range(8)]
    pairs += [(f"var({text})", paper) for text in ("--ink", "--soft", "--link", "--bad")
              for paper in ("--paper", "--card")]  # fmt: skip
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
