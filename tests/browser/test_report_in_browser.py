"""The report in a real browser: drawn, sorted, filtered, silent, and asking nobody."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opened import Opened, open_page, wait_until_drawn

from gemmbench_results.report.web.evidence import gather
from gemmbench_results.report.web.page import plotly_source, report_page
from gemmbench_results.store import open_store
from report_example import HOSTILE, fill, full_trials

pytestmark = pytest.mark.browser

CHARTS = ["network", "rates", "roofline", "algorithms", "kernels", "stages", "curves", "tiles",
          "history"]  # fmt: skip
LIGHT_INK, DARK_INK, DARK_PAPER = "rgb(29, 31, 35)", "rgb(232, 230, 225)", "rgb(21, 23, 27)"
NO_NETWORK = """
const parse = JSON.parse;
JSON.parse = (text) => ({ ...parse(text), network: [] });
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with open_store(folder / "results.db") as store:
        fill(store, full_trials(), runs=3)
        page = report_page(gather(store), {}, "results.db", plotly_source())
    target = folder / "report.html"
    target.write_text(page, encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def opened(browser: Any, file: Path) -> Iterator[Opened]:
    for one in open_page(browser, file):
        wait_until_drawn(one.page)
        yield one


@pytest.mark.parametrize("key", CHARTS)
def test_the_chart_is_drawn(opened: Opened, key: str) -> None:
    place = opened.page.locator(f"[data-chart={key}]")
    assert place.locator("svg.main-svg").count() > 0
    shapes = place.locator(".trace path, .trace rect, .hm image, .heatmaplayer image, .points path")
    assert shapes.count() > 0
    box = place.bounding_box()
    assert box["width"] > 200
    assert box["height"] > 100


def test_each_view_of_a_chart_is_drawn_when_it_is_chosen(opened: Opened) -> None:
    chooser = opened.page.locator("select[data-for=stages]")
    place = opened.page.locator("[data-chart=stages]")
    assert "input transform" not in place.text_content()
    chooser.select_option("conv2")
    place.get_by_text("input transform").first.wait_for()


def test_nothing_is_complained_of_and_nothing_leaves_the_page(opened: Opened, file: Path) -> None:
    assert opened.complaints == []
    assert opened.requests == [file.as_uri()]
    assert opened.page.evaluate("refused") == []


def test_no_button_of_a_chart_offers_to_upload_it(opened: Opened) -> None:
    buttons = opened.page.locator(".modebar-btn").evaluate_all(
        "all => all.map(button => button.dataset.title)"
    )
    assert set(buttons) == {
        "Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"
    }  # fmt: skip


def test_the_policy_refuses_a_request_and_a_script(browser: Any, file: Path) -> None:
    for one in open_page(browser, file):
        wait_until_drawn(one.page)
        refused = one.page.evaluate("fetch('https://example.org').then(() => '', () => 'refused')")
        assert refused == "refused"
        one.page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'),"
            " { textContent: 'window.injected = 1' }))"
        )
        assert one.page.evaluate("window.injected") is None
        assert set(one.page.evaluate("refused")) == {"connect-src", "script-src-elem"}


def test_a_layer_named_like_a_script_is_shown_and_does_not_run(opened: Opened) -> None:
    page = opened.page
    assert opened.dialogs == []
    assert page.locator("script").count() == 4  # figures, plotly packed, the page's, plotly
    for chart in ("network", "rates", "algorithms"):
        shown = page.locator(f"[data-chart={chart}] text").all_text_contents()
        assert any(HOSTILE in text for text in shown), chart
    assert page.locator("#all td", has_text=HOSTILE).count() > 0
    assert page.locator("main b, main i, main u").count() == 0


def cells(opened: Opened, column: str) -> list[str]:
    """The texts of a column's visible rows, from above."""
    heads = [text.strip() for text in opened.page.locator("#all th").all_text_contents()]
    rows = opened.page.locator("#all tbody tr:not([hidden])")
    return [row[heads.index(column)].strip() for row in rows.evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))")]  # fmt: skip


def test_a_heading_sorts_by_its_numbers_and_says_so(opened: Opened) -> None:
    head = opened.page.locator("#all th", has_text="GFLOP/s")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    shown = cells(opened, "GFLOP/s")
    numbers = [float(text) for text in shown if text]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 3
    assert shown[: len(numbers)] == [text for text in shown if text]  # what has none is last
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    shown = cells(opened, "GFLOP/s")
    assert [float(text) for text in shown if text] == sorted(numbers, reverse=True)
    assert shown[-1] == ""
    opened.page.locator("#all th", has_text="layer").get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") is None
    assert cells(opened, "layer") == sorted(cells(opened, "layer"))


def test_the_filter_keeps_rows_with_every_word_of_one_kind(opened: Opened) -> None:
    page = opened.page
    assert set(cells(opened, "for")) == {"race"}  # searches are left out until asked for
    page.get_by_label("Filter", exact=True).fill("CONV1 blas")
    assert cells(opened, "contender") == ["blas im2col"]
    assert page.locator("#shown").text_content() == f"1 of {len(full_trials())} trials"
    page.locator("#purpose").select_option("tune")
    page.get_by_label("Filter", exact=True).fill("")
    assert cells(opened, "for") == ["tune"] * 6
    page.get_by_label("Filter", exact=True).fill("no such row")
    assert cells(opened, "for") == []
    page.get_by_label("Filter", exact=True).fill("")
    page.locator("#purpose").select_option("race")


def test_charts_follow_a_dark_page(opened: Opened) -> None:
    from playwright.sync_api import expect

    page = opened.page
    tick = page.locator("[data-chart=rates] .xtick text").first
    expect(tick).to_have_css("fill", LIGHT_INK)
    page.emulate_media(color_scheme="dark")
    expect(tick).to_have_css("fill", DARK_INK)
    expect(page.locator("body")).to_have_css("background-color", DARK_PAPER)
    page.emulate_media(color_scheme="light")
    expect(tick).to_have_css("fill", LIGHT_INK)


def test_every_chart_is_in_the_colours_of_paper_when_the_browser_prints(
    browser: Any, file: Path
) -> None:
    ticks = (
        "[...document.querySelectorAll('.chart .xtick text')].map(t => getComputedStyle(t).fill)"
    )
    for one in open_page(browser, file, color_scheme="dark"):
        wait_until_drawn(one.page)
        assert set(one.page.evaluate(ticks)) == {DARK_INK}
        now = f"(dispatchEvent(new Event('beforeprint')), {ticks})"  # nothing is awaited
        assert set(one.page.evaluate(now)) == {LIGHT_INK}
        one.page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert set(one.page.evaluate(ticks)) == {DARK_INK}


def test_a_chart_that_cannot_be_drawn_leaves_the_others(browser: Any, file: Path) -> None:
    from playwright.sync_api import expect

    for one in open_page(browser, file, NO_NETWORK):
        one.page.locator("[data-chart=network]").get_by_text("Not drawn").wait_for()
        expect(one.page.locator("[data-chart][data-drawn]")).to_have_count(len(CHARTS) - 1)
        one.page.set_viewport_size({"width": 500, "height": 900})
        expect(one.page.locator("[data-chart=history] .main-svg").first).to_have_attribute(
            "width", "450"
        )
        one.page.evaluate("figures.network = figures.rates; show(places[0])")
        again = one.page.locator("[data-chart=network][data-drawn]:not(.failed)[role=img]")
        expect(again).to_have_count(1)
        assert "Not drawn" not in again.text_content()
        assert one.complaints == []


def test_a_narrow_screen_needs_no_scrolling_to_the_side(browser: Any, file: Path) -> None:
    for one in open_page(browser, file, viewport={"width": 360, "height": 800}):
        wait_until_drawn(one.page)
        assert one.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_browser_that_cannot_unpack_the_library_says_so(browser: Any, file: Path) -> None:
    for one in open_page(browser, file, "delete window.DecompressionStream;"):
        place = one.page.locator("[data-chart=network]")
        place.get_by_text("Not drawn").wait_for()
        assert one.page.locator("#network details table td").count() > 0
