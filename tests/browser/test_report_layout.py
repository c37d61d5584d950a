"""The report at the widths of a phone, a tablet and a desk, and on paper: whole and readable."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opened import Opened, open_page, wait_until_drawn

from gemmbench.trial import Contender, Trial
from gemmbench_results.report.web.evidence import gather
from gemmbench_results.report.web.page import plotly_source, report_page
from gemmbench_results.store import open_store
from report_example import BANDWIDTH, fill, full_trials
from unit.example_trials import CONV1, CONV2, blas, numba, trial

pytestmark = pytest.mark.browser

FOLDER = "./a/folder/of/kernels/whose/path/is/long"
WIDTHS = (420, 800, 1280)

BEYOND = """
() => [...document.querySelectorAll("body *")]
  .filter((one) => !one.closest(".frame, .scroll") && one.getBoundingClientRect().width)
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5)
  .map((one) => `${one.tagName} ${one.id} ${one.textContent.slice(0, 40)}`)
"""
CUT = """
() => places.flatMap((place) => {
  const frame = place.getBoundingClientRect();
  return [...place.querySelectorAll("text")]
    .filter((text) => getComputedStyle(text).visibility !== "hidden")
    .map((text) => [text.textContent, text.getBoundingClientRect()])
    .filter(([, box]) => box.width && (box.left < frame.left - 1 || box.right > frame.right + 1
      || box.top < frame.top - 1 || box.bottom > frame.bottom + 1))
    .map(([text]) => `${place.dataset.chart}: ${text}`);
})
"""
COVERED = """
() => places.flatMap((place) => {
  const buttons = place.querySelector(".modebar").getBoundingClientRect();
  const chooser = `select[data-for=${place.dataset.chart}]`;
  const others = [...place.querySelectorAll(".legend, .nsewdrag, .xtick text"),
    ...document.querySelectorAll(chooser)];
  return others.map((one) => [one, one.getBoundingClientRect()])
    .filter(([, box]) => box.width && box.left < buttons.right && buttons.left < box.right
      && box.top < buttons.bottom && buttons.top < box.bottom)
    .map(([one]) => `${place.dataset.chart}: ${one.getAttribute("class")}`);
})
"""
NAMES = """
() => [...document.querySelectorAll("[data-chart=roofline] .textpoint text")]
  .filter((text) => getComputedStyle(text).visibility !== "hidden")
  .map((text) => text.getBoundingClientRect())
  .map((box) => [box.left, box.right, box.top, box.bottom])
"""
HEIGHTS = """
() => places.map((place) => [place.dataset.chart, place._fullLayout._size.h,
  place.layout.meta.plot])
"""
SIZES = """
(frame) => {
  const place = frame.querySelector(".chart");
  return [place.dataset.chart, place.querySelector(".main-svg").getBoundingClientRect().width,
    place.layout.meta.narrowest];
}
"""
WRITTEN = """
async () => {
  dispatchEvent(new Event("beforeprint"));
  for (let count = 0; count < 500; count++) await null;  // no timer and no frame of the screen
  return places.map((place) => [place.dataset.chart, place._fullLayout._size.h,
    place.layout.meta.plot, place.querySelectorAll(".legend").length,
    place._fullLayout.showlegend]);
}
"""
PAPER = """
() => places.map((place) => [place.dataset.chart,
  place.querySelector(".main-svg").getBoundingClientRect().right
  - document.querySelector("main").getBoundingClientRect().right])
"""


def many_trials() -> list[Trial]:
    """Twenty layers with long names, by seven contenders, two of which differ at their end."""
    contenders = [
        blas("im2col"), numba("im2col"), numba("im2col", weights="prepared"),
        Contender("torch", "library"), Contender("torch", "library", "prepared"),
        Contender(f"{FOLDER}/first.py:Kernel", "direct"),
        Contender(f"{FOLDER}/second.py:Kernel", "direct"),
    ]  # fmt: skip
    return [
        replace(
            trial(
                f"encoder.layer.{layer}.attention.self.projection",
                (CONV1, CONV2)[layer % 2],
                contender,
                0.01 * (1 + 0.3 * number) * (1 + (layer * 7 % 11) / 5),
                stages={"im2col": 0.004, "multiply": 0.006} if number < 2 else {},
            ),
            peak_bytes=BANDWIDTH,
        )
        for layer in range(20)
        for number, contender in enumerate(contenders)
    ]


def many_layers(opened: Opened) -> bool:
    return bool(opened.page.locator("#all td", has_text="encoder.layer.19").count())


def written(folder: Path, trials: list[Trial]) -> Path:
    with open_store(folder / "results.db") as store:
        fill(store, trials, runs=3)
        page = report_page(gather(store), {}, "results.db", plotly_source())
    target = folder / "report.html"
    target.write_text(page, encoding="utf-8")
    return target


@pytest.fixture(scope="module", params=["few", "many"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    trials = full_trials() if request.param == "few" else many_trials()
    return written(tmp_path_factory.mktemp("report"), trials)


@pytest.fixture(scope="module", params=WIDTHS)
def opened(request: pytest.FixtureRequest, browser: Any, file: Path) -> Iterator[Opened]:
    for one in open_page(browser, file, viewport={"width": request.param, "height": 900}):
        wait_until_drawn(one.page)
        yield one


def test_nothing_reaches_beyond_the_screen(opened: Opened) -> None:
    assert opened.page.evaluate(BEYOND) == []
    wide = opened.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0


def test_no_text_of_a_chart_is_cut(opened: Opened) -> None:
    assert opened.page.evaluate(CUT) == []


def test_the_buttons_of_a_chart_cover_nothing_of_it(opened: Opened) -> None:
    assert opened.page.evaluate(COVERED) == []


def test_a_plot_keeps_its_height_however_high_its_legend_is(opened: Opened) -> None:
    heights = opened.page.evaluate(HEIGHTS)
    assert len(heights) > 6
    assert {key: height for key, height, _ in heights} == {
        key: pytest.approx(wanted, abs=1) for key, _, wanted in heights
    }


def test_no_name_in_the_roofline_lies_over_another(opened: Opened) -> None:
    boxes = opened.page.evaluate(NAMES)
    assert len(boxes) > 2
    for number, (left, right, top, bottom) in enumerate(boxes):
        for other in boxes[:number]:
            apart = right <= other[0] or other[1] <= left or bottom <= other[2] or other[3] <= top
            assert apart, (number, boxes)


def test_drawing_complains_of_nothing(opened: Opened) -> None:
    assert opened.complaints == []


def test_a_chart_that_is_wider_than_the_screen_is_scrolled_by_the_keyboard(opened: Opened) -> None:
    frames = opened.page.locator(".frame")
    wide = [
        frame
        for frame in frames.all()
        if frame.evaluate("one => one.scrollWidth > one.clientWidth")
    ]
    stops = opened.page.locator(".frame[tabindex='0'][role=region][aria-label]")
    narrowed = {key: sizes for frame in wide for key, *sizes in [frame.evaluate(SIZES)]}
    assert all(width == narrowest for width, narrowest in narrowed.values())
    if opened.page.viewport_size["width"] == min(WIDTHS) and many_layers(opened):
        assert {"rates", "algorithms"} <= set(narrowed)
    assert frames.count() > 6
    assert stops.count() == len(wide)
    for frame in wide:
        frame.focus()
        assert frame.evaluate("one => document.activeElement === one")


def test_a_chart_is_drawn_anew_for_another_width(browser: Any, file: Path) -> None:
    from playwright.sync_api import expect

    for one in open_page(browser, file, viewport={"width": 1280, "height": 900}):
        wait_until_drawn(one.page)
        svg = one.page.locator("[data-chart=roofline] .main-svg").first
        one.page.set_viewport_size({"width": 420, "height": 900})
        expect(svg).to_have_attribute("width", "370")
        assert one.page.evaluate(BEYOND) == []


def test_a_finger_on_a_chart_scrolls_the_page(browser: Any, file: Path) -> None:
    touch = """
    (one) => {
      const box = one.getBoundingClientRect();
      const [clientX, clientY] = [box.x + box.width / 2, box.y + box.height / 2];
      const point = new Touch({ identifier: 1, target: one, clientX, clientY });
      const event = new TouchEvent("touchstart",
        { touches: [point], changedTouches: [point], cancelable: true, bubbles: true });
      one.dispatchEvent(event);
      return event.defaultPrevented;
    }
    """
    screen = {"width": 420, "height": 900}
    for one in open_page(browser, file, viewport=screen, is_mobile=True, has_touch=True):
        wait_until_drawn(one.page)
        drags = one.page.locator(".draglayer .drag:not([style*='pointer-events: none'])")
        assert drags.count() > 6
        assert not any(drag.evaluate(touch) for drag in drags.all())


def test_charts_are_whole_on_paper(browser: Any, file: Path) -> None:
    for one in open_page(browser, file, viewport={"width": 1600, "height": 900}):
        wait_until_drawn(one.page)
        one.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        wait_until_drawn(one.page)
        assert one.page.evaluate("document.querySelector('main').clientWidth") == 704
        assert [key for key, beyond in one.page.evaluate(PAPER) if beyond > 1] == []


def test_a_chart_is_complete_when_the_browser_prints_without_waiting(
    browser: Any, file: Path
) -> None:
    for one in open_page(browser, file, viewport={"width": 1600, "height": 900}):
        wait_until_drawn(one.page)
        found = one.page.evaluate(WRITTEN)
        assert {key: height for key, height, *_ in found} == {
            key: pytest.approx(plot, abs=1) for key, _, plot, *_ in found
        }
        assert {key: bool(legends) for key, *_, legends, _ in found} == {
            key: shown for key, *_, shown in found
        }
        assert sum(shown for *_, shown in found) > 3


def test_what_can_be_opened_in_the_head_is_open_on_paper(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemmbench_results.report.web.page.MOST_CLAUSES", 1)
    for one in open_page(browser, written(tmp_path, full_trials())):
        wait_until_drawn(one.page)
        opened = one.page.locator("header details[open]")
        one.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert opened.count() == 1
        one.page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert opened.count() == 0


def test_a_plot_keeps_its_height_below_a_legend_higher_than_a_screen(
    browser: Any, tmp_path: Path
) -> None:
    trials = [
        trial("conv1", CONV1, Contender(f"{FOLDER}/of/number/{number}.py:Kernel", "direct"), 0.01)
        for number in range(60)
    ]
    file = written(tmp_path, [*trials, trial("conv1", CONV1, blas("im2col"), 0.009)])
    for one in open_page(browser, file, viewport={"width": 420, "height": 900}):
        wait_until_drawn(one.page)
        heights = {key: (height, plot) for key, height, plot in one.page.evaluate(HEIGHTS)}
        assert one.page.evaluate("figures.history[0].data.length") >= 60
        assert heights["history"][0] == pytest.approx(heights["history"][1], abs=1)
        assert one.page.evaluate(CUT) == []


def test_layers_with_much_in_common_have_different_names(browser: Any, tmp_path: Path) -> None:
    for one in open_page(browser, written(tmp_path, many_trials())):
        wait_until_drawn(one.page)
        legend = one.page.locator("[data-chart=network] .legendtext").all_text_contents()
        points = one.page.evaluate("figures.roofline[0].data.at(-1).text")
        assert len(set(legend)) == len(legend) == 20
        assert len(set(points)) == len(points) == 20
