"""Fingerprints are equal if and only if times may be compared."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemmbench.machine import Machine
from gemmbench.software import (
    Software,
    detect_software,
    read_gpus,
    software_from_data,
    software_to_data,
)
from gemmbench.trial import RaceProtocol
from gemmbench_results.fingerprint import differences, fingerprint
from gemmbench_results.rows import COMPARABLE, comparable_key

MACHINE = Machine("cpu", "zen4", ("avx2", "fma"), 4, 32768, 1048576, 2**25, 2**34, "Linux x86_64")
SOFTWARE = Software((("numpy", "2.4.6"),), "openblas 0.3.31", "Zen", ("H100",), "570.86.15")
PROTOCOL = RaceProtocol(threads=2)

words = st.text(max_size=8)
machines = st.builds(
    Machine, words, words, st.just(()), *(st.integers(1, 3) for _ in range(5)), words
)
softwares = st.none() | st.builds(
    Software,
    st.dictionaries(words, words, max_size=2).map(lambda found: tuple(sorted(found.items()))),
    words, words, st.lists(words, max_size=1).map(tuple), words,
)  # fmt: skip
protocols = st.builds(
    RaceProtocol,
    fill=words,
    threads=st.integers(1, 3),
    seed=st.integers(0, 3),
    processes=st.integers(1, 3),
    forced=st.lists(words, max_size=2).map(tuple),
)


def same(one: tuple, other: tuple) -> bool:
    """Whether what timings depend on is equal, said another way than by the code under test."""
    keys = [(m.key(), s, [getattr(p, n) for n in COMPARABLE]) for m, s, p in (one, other)]
    return keys[0] == keys[1]


@given(*[st.tuples(machines, softwares, protocols)] * 2)
def test_different_circumstances_have_different_fingerprints(one, other):
    first, second = fingerprint(*one), fingerprint(*other)
    if first != second:
        assert differences(first, second)
        assert first.key() != second.key()
        assert not same(one, other)
    else:
        assert differences(first, second) == []
        assert first.key() == second.key()


@given(st.tuples(machines, softwares, protocols), st.integers(0, 9), st.integers(0, 9))
def test_what_drifts_or_only_costs_effort_does_not_change_a_fingerprint(one, memory, seed):
    machine, software, protocol = one
    drifted = replace(machine, memory_bytes=memory, features=("x",))
    again = replace(protocol, seed=seed, processes=seed + 1, notes=("n",))
    assert fingerprint(*one) == fingerprint(drifted, software, again)
    assert comparable_key(protocol) == comparable_key(again)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"packages": (("numpy", "2.5.0"),)}, "numpy"),
        ({"packages": (("numba", "0.61"), ("numpy", "2.4.6"))}, "numba"),
        ({"blas": "mkl 2026"}, "BLAS"),
        ({"blas_kernel": "Haswell"}, "BLAS kernel"),
        ({"gpus": ()}, "GPU"),
        ({"gpu_driver": "580.1"}, "GPU driver"),
    ],
)
def test_each_fact_of_the_software_counts_and_is_named(change, name):
    before = fingerprint(MACHINE, SOFTWARE, PROTOCOL)
    after = fingerprint(MACHINE, replace(SOFTWARE, **change), PROTOCOL)
    assert before.key() != after.key()
    assert [one.name for one in differences(before, after)] == [name]


def test_threads_and_forced_kernels_count():
    before = fingerprint(MACHINE, SOFTWARE, PROTOCOL)
    forced = ("OPENBLAS_CORETYPE=Haswell",)
    after = fingerprint(MACHINE, SOFTWARE, replace(PROTOCOL, threads=1, forced=forced))
    shown = [str(one) for one in differences(before, after)]
    assert shown == ["threads: 2 → 1", "forced: none → OPENBLAS_CORETYPE=Haswell"]


def test_software_that_was_not_kept_equals_only_its_like():
    unknown = fingerprint(MACHINE, None, PROTOCOL)
    assert unknown == fingerprint(MACHINE, None, PROTOCOL)
    assert unknown != fingerprint(MACHINE, Software(), PROTOCOL)


def test_software_survives_being_written_as_data():
    assert software_from_data(software_to_data(SOFTWARE)) == SOFTWARE
    assert software_from_data({**software_to_data(SOFTWARE), "newer": 1}) == SOFTWARE


def test_the_software_here_is_found_and_stays_the_same():
    found = detect_software()
    assert found == detect_software()
    assert dict(found.packages)["numpy"]
    assert {field.name for field in fields(found)} == set(software_to_data(found))


@pytest.mark.parametrize(
    "kind", ["x86_64 Kernel Module  550.54.15", "Open Kernel Module for x86_64  550.54.15  Release"]
)
def test_gpus_and_their_driver_are_read_from_proc(tmp_path: Path, kind: str):
    nvidia = tmp_path / "proc/driver/nvidia"
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (nvidia / "gpus" / bus).mkdir(parents=True)
        (nvidia / "gpus" / bus / "information").write_text("Model: \t\t NVIDIA H100\nIRQ:  1\n")
    (nvidia / "version").write_text(f"NVRM version: NVIDIA UNIX {kind}\nGCC version: 12.2.0\n")
    assert read_gpus(tmp_path) == (("NVIDIA H100", "NVIDIA H100"), "550.54.15")
    assert read_gpus(tmp_path / "empty") == ((), "")
