"""The page that shows a search."""

import pytest

from gemmbench.measurement import Measurement, Sample
from gemmbench.problem import Gemm
from gemmbench.trial import Contender, Trial, TrialState
from gemmbench_results.report.plot import search_page
from gemmbench_results.report.web.searches import telling_axes


def trial(mr: int, nv: int, ms: float | None) -> Trial:
    return Trial(
        suite="s",
        layer="<l>",
        problem=Gemm(8, 8, 8),
        contender=Contender("numba", "gemm", config={"mr": mr, "nv": nv, "order": "rows"}),
        state=TrialState.FAILED if ms is None else TrialState.COMPLETE,
        purpose="tune",
        measurement=Measurement(() if ms is None else (Sample(ms / 1e3, 1),)),
    )


TRIALS = [trial(1, 1, 4.0), trial(2, 1, 2.0), trial(1, 2, 4.1), trial(2, 2, None)]


def test_the_axes_that_matter_come_first() -> None:
    points = [(dict(t.contender.config), ms) for t, ms in zip(TRIALS, (4.0, 2.0, 4.1, None))]  # noqa: B905
    assert telling_axes(points)[:2] == ["mr", "nv"]
    assert telling_axes([({"a": 1, "b": 2}, None)]) == ["a", "b"]


def test_a_page_holds_both_figures_and_loads_nothing() -> None:
    pytest.importorskip("plotly")
    page = search_page(TRIALS)
    assert "<h2>s &lt;l&gt;: numba gemm</h2>" in page
    assert page.count("Plotly.newPlot(") >= 2
    assert "best so far" in page
    assert 'src="http' not in page
    drawn = page.count('class="plotly-graph-div"')
    assert page.count('"showSendToCloud": false') == drawn >= 2  # no button that uploads


def test_axes_may_be_chosen_and_nothing_measured_is_said() -> None:
    pytest.importorskip("plotly")
    assert '"text":"order"' in search_page(TRIALS, ("order", "nv"))
    assert "No config was measured." in search_page([])
