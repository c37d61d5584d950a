"""What every strategy promises, whatever it searches and however it goes."""

import math
import tracemalloc
from collections.abc import Callable

import pytest

from gemmbench.errors import GemmbenchError
from gemmbench.space import Axis, Config, Constraint, SearchSpace, config_key
from gemmbench.tune.strategies import STRATEGIES, make_strategy

SPACE = SearchSpace(
    (
        Axis("tile", (8, 16, 32, 64), "pow2"),
        Axis("width", (16, 32, 48, 64, 80, 96)),
        Axis("order", ("rows", "panels", "blocks"), "categorical"),
        Axis("pack", (False, True), "boolean"),
        Axis("fixed", (7,)),
    ),
    {"tile": 16, "width": 32, "order": "rows", "pack": True, "fixed": 7},
    (Constraint("fits", ("tile", "width"), lambda tile, width: tile * width <= 4096),),
)
LONELY = SearchSpace((Axis("a", (3,)),), {"a": 3})
each_strategy = pytest.mark.parametrize("name", STRATEGIES)


def cost(config: Config) -> float:
    tile, width = int(config["tile"]), int(config["width"])
    off = abs(math.log2(tile / 32)) + abs(width - 64) / 32 + 2 * (width % 32 > 0)
    return 1e-3 * (1 + off + (config["order"] != "panels") + (not config["pack"]))


def search(
    name: str,
    space: SearchSpace = SPACE,
    seed: int = 0,
    seconds: Callable[[Config], float | None] = cost,
    most: int = 10_000,
) -> list[Config]:
    strategy = make_strategy(name, space, seed)
    asked: list[Config] = []
    while len(asked) < most and (config := strategy.ask()) is not None:
        asked.append(config)
        strategy.tell(config, seconds(config))
    return asked


@each_strategy
def test_every_valid_config_is_proposed_exactly_once(name: str) -> None:
    asked = search(name)
    assert sorted(map(config_key, asked), key=str) == sorted(map(config_key, SPACE), key=str)


@each_strategy
def test_the_default_is_proposed_first(name: str) -> None:
    assert search(name, most=1) == [dict(SPACE.default)]


@each_strategy
def test_the_same_seed_gives_the_same_search(name: str) -> None:
    assert search(name, seed=3, most=40) == search(name, seed=3, most=40)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "exhaustive"])
def test_another_seed_gives_another_search(name: str) -> None:
    assert search(name, seed=3, most=20) != search(name, seed=4, most=20)


@each_strategy
@pytest.mark.parametrize("failing", ["all", "most", "best"])
def test_failures_are_data_and_end_nothing(name: str, failing: str) -> None:
    def seconds(config: Config) -> float | None:
        fails = {
            "all": True,
            "most": config["tile"] != 16,
            "best": config["order"] == "panels",
        }[failing]
        return None if fails else cost(config)

    assert len(search(name, seconds=seconds)) == SPACE.size()


@each_strategy
def test_a_space_of_one_config_is_searched(name: str) -> None:
    assert search(name, LONELY, seconds=lambda config: 1.0) == [{"a": 3}]


@each_strategy
def test_equal_times_everywhere_are_no_trouble(name: str) -> None:
    assert len(search(name, seconds=lambda config: 0.5)) == SPACE.size()


@each_strategy
def test_what_is_told_without_being_asked_is_not_proposed(name: str) -> None:
    known = list(SPACE)[::3]
    strategy = make_strategy(name, SPACE, 0)
    for config in known:
        strategy.tell(config, cost(config))
    asked = []
    while (config := strategy.ask()) is not None:
        asked.append(config)
        strategy.tell(config, cost(config))
    assert len(asked) + len(known) == SPACE.size()
    assert not {config_key(config) for config in asked} & {config_key(config) for config in known}


@each_strategy
def test_what_is_told_may_lie_outside_the_space(name: str) -> None:
    strategy = make_strategy(name, SPACE, 0)
    strategy.tell({"tile": 3, "other": "x"}, 1e-9)
    assert strategy.ask() == dict(SPACE.default)


@each_strategy
def test_thousands_of_stored_results_cost_little_time_and_memory(name: str) -> None:
    """The model is bounded, and still finds the best among the few that were left out."""
    axes = tuple(Axis(axis, tuple(range(1, 12))) for axis in "abcd")
    space = SearchSpace(axes, dict.fromkeys("abcd", 1))
    best = {"a": 7, "b": 3, "c": 5, "d": 9}

    def seconds(config: Config) -> float:
        return 1.0 + sum(abs(math.log(float(config[n]) / best[n])) for n in best)

    strategy = make_strategy(name, space, 0)
    tracemalloc.start()
    for config in space:
        near = sum(abs(int(config[n]) - best[n]) for n in best)
        if near > 1 and (near > 3 or sum(map(int, config.values())) % 2):
            strategy.tell(config, seconds(config))
    asked = [strategy.ask() for _ in range(25)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300e6
    if name == "gp":
        assert best in asked


@each_strategy
def test_several_configs_may_be_asked_for_before_the_first_answer(name: str) -> None:
    strategy = make_strategy(name, SPACE, 0)
    asked = [strategy.ask() for _ in range(30)]
    assert None not in asked
    assert len({config_key(config) for config in asked if config}) == 30


@pytest.mark.parametrize("name", ["gp", "genetic"])
def test_a_search_that_learns_beats_chance(name: str) -> None:
    """On 102 configs with one best: found within 40 evaluations for most of ten seeds."""
    best = min(SPACE, key=cost)
    found = [best in search(name, seed=seed, most=40) for seed in range(10)]
    assert sum(found) >= 7


def test_an_unknown_strategy_is_one_line() -> None:
    with pytest.raises(GemmbenchError, match=r"^--strategy: 'pg' is unknown\."):
        make_strategy("pg", SPACE, 0)
