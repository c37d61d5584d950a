import numpy as np
import pytest

from gemmbench import footprint
from gemmbench.footprint import call_bytes, cold_ratio
from gemmbench.operands import guarded_output
from gemmbench.problem import Gemm
from gemmbench.timing import Copy, Slot

MIB = 2**20


class Prepared:
    def run(self) -> None:
        pass

    def output(self):
        return np.empty(0)


def slot(*arrays, cold=True):
    out = guarded_output(Gemm(2, 2, 2), 0)
    return Slot("gemm", [Copy({"a": array}, out, Prepared()) for array in arrays], cold=cold)


def test_memory_that_a_call_takes_and_gives_back_is_seen():
    if not footprint.CLEAR_REFS.exists():
        pytest.skip("this kernel does not reset the peak of the resident size")
    found = call_bytes(lambda: np.ones(64 * MIB, dtype=np.uint8))
    assert 60 * MIB < found < 80 * MIB
    assert call_bytes(lambda: None) < MIB


def test_where_the_peak_cannot_be_reset_memory_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(footprint, "CLEAR_REFS", tmp_path / "missing" / "clear_refs")
    assert call_bytes(lambda: None) is None


def test_a_slot_that_is_not_cold_has_no_ratio():
    assert cold_ratio(slot(np.ones(64, dtype=np.float32), cold=False)) is None


def test_each_probe_takes_the_copy_whose_turn_it_is(monkeypatch):
    arrays = [np.full(64, value, dtype=np.float32) for value in (1, 2)]
    seen = []
    times = iter([3.0, 1.0, 8.0, 2.0, 6.0, 2.0])

    def touch(operands):
        seen.append(float(operands[0][0]))
        return next(times)

    monkeypatch.setattr(footprint, "_touch", touch)
    assert cold_ratio(slot(*arrays), probes=3) == 3.0
    assert seen == [2.0, 2.0, 1.0, 1.0, 2.0, 2.0]
