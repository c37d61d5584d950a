"""Warm starts: a good source helps, a bad one rules nothing out, configs of other spaces fit in."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from gemmbench.recorded import load_recorded
from gemmbench.replay import replay
from gemmbench.space import Axis, Config, Constraint, SearchSpace
from gemmbench.tune.bayesian import BayesianSearch
from gemmbench.tune.evidence import FEWEST, SEEDS, guess
from gemmbench.tune.features import coordinates
from gemmbench.tune.listing import Listing

SPACE = SearchSpace(
    (
        Axis("mr", (1, 2, 4, 6, 8)),
        Axis("kc", (64, 128, 256, 363)),
        Axis("order", ("rows", "panels"), "categorical"),
    ),
    {"mr": 1, "kc": 64, "order": "rows"},
    (Constraint("fits", ("mr", "kc"), lambda mr, kc: mr * kc <= 1500),),
)


def cost(config: Config) -> float:
    off = abs(np.log2(float(config["mr"]) / 4)) + abs(np.log2(float(config["kc"]) / 200))
    return float(1 + off + (config["order"] == "rows"))


def proposals(sources, count: int) -> list[Config]:
    strategy = BayesianSearch(SPACE, 0, sources)
    asked = []
    for _ in range(count):
        config = strategy.ask()
        assert config is not None
        asked.append(config)
        strategy.tell(config, cost(config))
    return asked


def test_the_best_of_a_source_are_measured_right_after_the_default() -> None:
    source = [(config, cost(config)) for config in SPACE]
    asked = proposals([source], 1 + SEEDS)
    assert asked[0] == SPACE.default
    expected = sorted(map(cost, SPACE))[:SEEDS]
    assert sorted(map(cost, asked[1:])) == expected


def test_a_source_that_says_the_opposite_rules_nothing_out() -> None:
    lies = [(config, 1 / cost(config)) for config in SPACE]
    asked = proposals([lies], SPACE.size())
    assert len({tuple(config.items()) for config in asked}) == SPACE.size()
    best = min(SPACE, key=cost)
    assert asked.index(best) < SPACE.size() * 2 / 3


def test_configs_of_another_shape_fall_on_the_nearest_valid_config() -> None:
    found = coordinates(SPACE.axes)
    other = [
        ({"mr": mr, "kc": kc, "order": order, "extra": 3}, 1.0 + mr + kc / 100)
        for mr, kc, order in itertools.product((3, 7, 8), (100, 2304), ("rows", "panels"))
    ]
    known = guess(Listing(SPACE), SPACE.default, found, [other])
    assert known is not None
    listing = Listing(SPACE)
    seeds = [listing.config(number) for number in known.seeds]
    assert seeds[0] == {"mr": 4, "kc": 128, "order": seeds[0]["order"]}
    assert all(seed in SPACE for seed in seeds)
    np.testing.assert_allclose([known.trend.mean(), known.trend.std()], [0, 1], atol=1e-6)


@pytest.mark.parametrize(
    "source",
    [
        [],
        [({"order": "columns"}, 1.0)] * 20,  # a category that does not exist here
        [(config, None) for config in SPACE],
        [(config, 1.0) for config in SPACE],
        [(config, cost(config)) for config in itertools.islice(SPACE, FEWEST - 1)],
    ],
)
def test_a_source_that_says_nothing_is_as_none(source) -> None:
    assert guess(Listing(SPACE), SPACE.default, coordinates(SPACE.axes), [source]) is None
    assert proposals([source], 15) == proposals([], 15)


def test_a_machine_like_this_one_saves_most_of_the_search_on_a_real_space() -> None:
    recorded = load_recorded(Path(__file__).parents[1] / "data/convmilo_A4000.csv.gz")
    slower = [
        (config, None if np.isnan(seconds) else 3 * float(seconds) ** 0.9)
        for config, seconds in itertools.islice(
            zip(recorded.space, recorded.seconds, strict=True), 0, None, 40
        )
    ]
    cold, warm = (
        [replay(recorded, "gp", seed, 20, sources=sources) for seed in range(4)]
        for sources in ([], [slower])
    )
    reached = [
        np.mean([trace.fractions(recorded.optimum(), 20)[-1] for trace in traces])
        for traces in (cold, warm)
    ]
    assert reached[1] > reached[0] + 0.02
