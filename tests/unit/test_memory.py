"""What is remembered of earlier searches: this one's results, and whom it resembles."""

from dataclasses import replace

import pytest

from gemmbench.problem import Conv2d, Gemm
from gemmbench.trial import Evaluation
from gemmbench.tune.memory import Memory, at_one_pace, recall

HERE = Evaluation(Gemm(64, 64, 64), {"mr": 1, "nv": 2}, 1.0, "new", "this", here=True)
OTHER = {"mr": 2, "nv": 2}


def test_nothing_stored_is_nothing_known() -> None:
    assert recall([], HERE.problem, "new") == Memory()


def test_results_of_this_problem_and_kernel_are_its_own_and_the_newest_counts() -> None:
    again = replace(HERE, config={"nv": 2, "mr": 1}, seconds=3.0)
    failed = replace(HERE, config=OTHER, seconds=None)
    memory = recall([HERE, failed, again], HERE.problem, "new")
    assert memory == Memory(stored=((OTHER, None), ({"nv": 2, "mr": 1}, 3.0)))


def test_another_source_machine_or_shape_only_informs_the_most_alike_first() -> None:
    elsewhere = replace(HERE, machine="that", here=False, seconds=4.0)
    older = replace(HERE, source_hash="old", seconds=3.0)
    near = replace(HERE, problem=Gemm(64, 64, 128), seconds=2.0)
    far = replace(HERE, problem=Gemm(64, 64, 4096), seconds=2.5)
    memory = recall([elsewhere, far, older, near], HERE.problem, "new")
    assert memory.stored == ()
    assert [source[0][1] for source in memory.sources] == [2.0, 2.5, 3.0, 4.0]


def test_other_kinds_and_types_say_nothing() -> None:
    conv = replace(HERE, problem=Conv2d(1, 4, 8, 8, 4, (3, 3)))
    double = replace(HERE, problem=Gemm(64, 64, 64, "float64"))
    assert recall([conv, double], HERE.problem, "new") == Memory()


def at(moment: str, mr: int, seconds: float | None, **changes: object) -> Evaluation:
    found = replace(HERE, moment=moment, config={"mr": mr, "nv": 2}, seconds=seconds)
    return replace(found, **changes)  # type: ignore[arg-type]


def times(evaluations: list[Evaluation]) -> dict[object, float | None]:
    return {one.config["mr"]: one.seconds for one in evaluations}


def test_searches_of_different_days_are_brought_to_the_pace_of_the_newest() -> None:
    """The machine was twice as slow on the first day, and three times on the second."""
    days = [
        at("1", 1, 20.0), at("1", 2, 4.0), at("1", 3, 2.0),
        at("2", 1, 30.0), at("2", 4, 3.0), at("2", 5, None),
        at("3", 1, 10.0), at("3", 6, 7.0),
    ]  # fmt: skip
    linked, apart = at_one_pace(days)
    assert times(linked) == pytest.approx({1: 10, 2: 2, 3: 1, 4: 1, 6: 7, 5: None})
    assert apart == []
    memory = recall(days, HERE.problem, "new")
    assert {config["mr"]: seconds for config, seconds in memory.stored} == times(linked)


def test_any_config_links_two_searches_and_the_middle_of_several_counts() -> None:
    older = [at("1", mr, seconds) for mr, seconds in ((1, 1.0), (2, 1.0), (3, 1.0), (4, 5.0))]
    newer = [at("2", mr, seconds) for mr, seconds in ((1, 2.0), (2, 2.0), (3, 9.0))]
    linked, _ = at_one_pace(older + newer)
    assert times(linked) == pytest.approx({1: 2, 2: 2, 3: 9, 4: 10})


def test_what_nothing_links_is_no_result_but_a_source() -> None:
    apart = at("1", 1, 5.0)
    memory = recall([apart, at("2", 2, 1.0)], HERE.problem, "new")
    assert memory == Memory((({"mr": 2, "nv": 2}, 1.0),), ((({"mr": 1, "nv": 2}, 5.0),),))


def test_a_search_that_links_two_others_is_found_whatever_their_order() -> None:
    chain = [at("1", 2, 4.0), at("1", 3, 6.0), at("2", 1, 3.0), at("3", 1, 1.0), at("3", 2, 2.0)]
    linked, apart = at_one_pace([chain[2], *chain[:2], *chain[3:]])
    assert times(linked) == pytest.approx({1: 1, 2: 2, 3: 3})
    assert apart == []


def test_failures_need_no_pace() -> None:
    linked, apart = at_one_pace([at("1", 1, 5.0), at("2", 2, None)])
    assert (times(linked), apart) == ({1: 5.0, 2: None}, [])
    linked, apart = at_one_pace([at("1", 2, None), at("2", 1, 5.0)])
    assert (times(linked), apart) == ({1: 5.0, 2: None}, [])


def test_one_time_out_is_forgiven_and_the_second_is_believed() -> None:
    hung = [at("1", 1, 5.0), at("1", 2, None, timed_out=True)]
    assert times(at_one_pace(hung)[0]) == {1: 5.0}
    hung.append(at("2", 2, None, timed_out=True))
    assert times(at_one_pace(hung)[0]) == {1: 5.0, 2: None}
