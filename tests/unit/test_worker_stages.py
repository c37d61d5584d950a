"""Stages of a slot, taken apart beside whole calls: on which copy of the operands each one runs."""

import numpy as np

from gemmbench.operands import guarded_output
from gemmbench.problem import Gemm
from gemmbench.timing import Copy, Slot
from gemmbench.worker import Worker

PROBLEM = Gemm(2, 2, 2)
CASE = {"label": "made up", "operands": {}}


class TwoStages:
    def __init__(self, name, log):
        self.name, self.log = name, log
        self.stages = {"im2col": self._lower, "multiply": self._multiply}

    def run(self):
        self.log.append((self.name, "run"))

    def output(self):
        return np.empty(0)

    def _lower(self):
        self.log.append((self.name, "im2col"))

    def _multiply(self):
        self.log.append((self.name, "multiply"))


def worker_with(names, log, *, cold):
    copies = [Copy({}, guarded_output(PROBLEM, 0), TwoStages(name, log)) for name in names]
    return Worker(PROBLEM, slots={0: Slot("im2col", copies, cold=cold)}, loaded="made up")


def test_a_cold_slot_takes_the_next_copy_for_a_call_and_for_its_stages():
    log = []
    found = worker_with("abc", log, cold=True).stages(0, CASE, repeats=2)
    assert list(found["seconds"]) == ["im2col", "multiply"]
    assert log == [
        ("b", "run"), ("c", "im2col"), ("c", "multiply"),
        ("a", "run"), ("b", "im2col"), ("b", "multiply"),
    ]  # fmt: skip


def test_operands_that_a_contender_changed_are_loaded_again(monkeypatch):
    def scribbled(problem, entry, case, how, found):
        found.inputs_changed = how == "stale"

    monkeypatch.setattr("gemmbench.verification.verify", scribbled)
    worker = worker_with("a", [], cold=False)
    worker.verify(0, CASE, "poisoned")
    assert worker.loaded == CASE["label"]
    worker.verify(0, CASE, "stale")
    assert worker.loaded == "", "the buffers no longer hold the case"


def test_a_hot_slot_has_one_copy_for_both():
    log = []
    worker_with("a", log, cold=False).stages(0, CASE, repeats=1)
    assert log == [("a", "run"), ("a", "im2col"), ("a", "multiply")]
