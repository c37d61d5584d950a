"""What figures show of names and numbers: whole, told apart, and with ticks."""

import re
from dataclasses import replace
from math import log10

import pytest
from example_trials import CONV1, FC6, blas, trial

from gemmbench.trial import Contender, Trial
from gemmbench_results.report.web.algorithm_figures import kernel_figure
from gemmbench_results.report.web.algorithms import Cell
from gemmbench_results.report.web.chart import Chart, Figure, fill, logarithmic
from gemmbench_results.report.web.charts import (
    network_chart,
    rates_chart,
    ratios_chart,
    roofline_chart,
)
from gemmbench_results.report.web.labels import broken, distinct, label, labels
from gemmbench_results.report.web.speeds import rates


def network_of(trials: list[Trial]) -> Chart:
    return network_chart(trials, {})


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


def test_a_hover_text_keeps_its_figures_however_long_the_names_are() -> None:
    name = "layer." + "x" * 80
    contender = Contender("./a/folder/of/kernels/whose/path/is/long/enough/k.py:K", "direct")
    own = [trial(name, CONV1, contender, 0.0123)]
    figures = [chart.views[0].figure for chart in run_charts_of(own)]
    texts = [text for figure in figures for one in figure["data"] for text in one["hovertext"]]
    texts = [text.replace("<br>", " ") for text in texts]
    long = [text for text in texts if "x" * 30 in text]
    assert len(long) == 4  # of the bar, the rate, the point and the layer's own roof
    assert all(re.search(r"12\.3 ms|\d GFLOP/s", text) for text in long)
    assert any("(100.0 %)" in text for text in long)


def run_charts_of(trials: list[Trial]) -> list[Chart]:
    return [network_of(trials), rates_chart(rates(trials)), roofline_chart(rates(trials))]


def test_of_many_other_layers_the_hover_text_names_the_longest() -> None:
    own = [trial(f"l{n}", CONV1, blas("im2col"), 0.01 + n / 1000) for n in range(60)]
    others = network_of(own).views[0].figure["data"][-1]
    lines = others["hovertext"][0].split("<br>")
    assert others["name"] == "other layers"
    assert lines[-1] == "and 28 more"
    assert [line.split(":")[0] for line in lines[1:-1]] == [f"l{n}" for n in range(35, 27, -1)]


BERT = [f"encoder.layer.{n}.attention.self.projection" for n in (3, 7, 11)]


def test_names_that_would_be_cut_alike_lose_what_they_have_in_common() -> None:
    assert labels(BERT, 16) == ["…layer.3.…", "…layer.7.…", "…layer.11.…"]
    assert labels([*BERT, *BERT], 16) == [*labels(BERT, 16)] * 2
    assert labels(["conv1", "conv2"], 16) == ["conv1", "conv2"]
    assert labels(["a", "a"], 16) == ["a", "a"]


def test_names_with_nothing_in_common_keep_as_much_as_tells_them_apart() -> None:
    names = [*BERT, "classifier"]
    shown = distinct(names, 16)
    assert len(set(shown)) == len(names)
    assert max(map(len, shown)) < 41


def test_no_two_series_look_alike() -> None:
    for patterned in (True, False):
        looks = [fill(n, patterned=patterned) for n in range(24)]
        assert len({(look["color"], look["pattern"]["shape"]) for look in looks}) == 24


@pytest.mark.parametrize(
    "values",
    [(22_000, 45_000), (30, 38, 41), (1000, 1001), (0.3, 0.4), (1, 9), (7, 70), (0.011, 890.0)],
)
@pytest.mark.parametrize("few", [True, False])
def test_an_axis_of_ratios_has_numbers_however_narrow_it_is(values, few: bool) -> None:
    axis = logarithmic("", values, few=few)
    low, high = axis.get("range", [log10(min(values)), log10(max(values))])
    inside = [
        text
        for tick, text in zip(axis["tickvals"], axis["ticktext"], strict=True)
        if low <= log10(tick) <= high
    ]
    assert 2 <= len(inside) <= 15
    assert low <= log10(min(values))
    assert log10(max(values)) <= high
    assert all(float(text) for text in inside)


def test_an_axis_with_few_ticks_has_powers_of_ten_where_those_are_enough() -> None:
    assert logarithmic("", (0.1, 900), few=True)["ticktext"][:2] == ["1e-06", "1e-05"]
    assert "20" in logarithmic("", (0.1, 900))["ticktext"]
    assert "20" in logarithmic("", (3, 60), few=True)["ticktext"]


def test_the_ticks_of_the_roofline_reckon_with_its_roofs() -> None:
    near = [trial("fc6", FC6, blas("gemm"), 0.005, peak_bytes=speed) for speed in (1e13, 4e10)]
    chart = roofline_chart(rates([replace(near[0], layer="a"), near[1]]))
    assert "20" not in chart.views[0].figure["layout"]["xaxis"]["ticktext"]


def test_a_name_in_a_cell_of_the_kernel_map_has_lines_and_its_row_is_high_enough() -> None:
    def map_of(name: str) -> Figure:
        return kernel_figure([Cell((k, k), (1, 1), name, 2, 3, 1, 1.5) for k in (1, 3, 5)])

    long = map_of("winograd-f6x6-3x3 transformed ahead")
    lines = long["layout"]["annotations"][0]["text"].split("<br>")
    assert max(map(len, lines)) <= 15
    assert long["layout"]["meta"]["plot"] >= 3 * 17 * len(lines)
