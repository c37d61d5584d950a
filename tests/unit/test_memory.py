"""What is remembered of earlier searches: this one's results, and whom it resembles."""

from dataclasses import replace

from gemmbench.problem import Conv2d, Gemm
from gemmbench.trial import Evaluation
from gemmbench.tune.memory import Memory, recall

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
