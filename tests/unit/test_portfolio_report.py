"""What is said of a portfolio: every layer is mentioned."""

from math import inf

from gemmbench.problem import Gemm
from gemmbench.suite import Layer
from gemmbench.tune.portfolio import Portfolio
from gemmbench_results.report.portfolio import portfolio_lines

PROBLEMS = [Gemm(8, 8, n) for n in (1, 2, 3)]
LAYERS = [Layer(f"l{n}", problem, "s") for n, problem in enumerate([*PROBLEMS, PROBLEMS[0]])]


def test_layers_served_not_measured_and_not_searched_are_told_apart() -> None:
    found = Portfolio(({"mr": 4}, {"mr": 8}), (1.0, inf), (1, 0))
    assert portfolio_lines("numba gemm", found, PROBLEMS[:2], LAYERS) == [
        "numba gemm: 2 of its configs serve 2 layers at 1.00 times their own best in the "
        "geometric mean",
        "  mr=4: none",
        "  mr=8: l0 (1.00), l3 (1.00)",
        "  measured with none of these: l1. To measure them: gemmbench tune SUITE --portfolio.",
        "  not searched: l2. Run 'gemmbench tune' with them.",
    ]


def test_a_kernel_that_was_not_searched_is_mentioned_too() -> None:
    (line,) = portfolio_lines("numba gemm", None, [], LAYERS)
    assert line.startswith("numba gemm: was not searched since its kernel changed.")
