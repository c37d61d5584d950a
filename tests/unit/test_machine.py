"""The machine's identity: the same machine always has the same key."""

from dataclasses import replace

import pytest

from gemmbench.cli.options import parse_size
from gemmbench.errors import GemmbenchError
from gemmbench.machine import (
    Machine,
    available_memory_bytes,
    detect_machine,
    machine_from_data,
    machine_to_data,
    usable_cores,
)

MACHINE = Machine("cpu", "zen4", ("avx2", "fma"), 4, 32768, 1048576, 2**25, 2**34, "Linux x86_64")


def test_the_key_is_stable_over_detections() -> None:
    assert detect_machine().key() == detect_machine().key()


@pytest.mark.parametrize("change", [{"cpu": "other"}, {"cores": 8}, {"l2_bytes": 1}])
def test_the_key_changes_with_what_timings_depend_on(change: dict[str, object]) -> None:
    assert replace(MACHINE, **change).key() != MACHINE.key()  # type: ignore[arg-type]


def test_the_key_does_not_change_with_memory() -> None:
    assert replace(MACHINE, memory_bytes=1).key() == MACHINE.key()


def test_a_machine_survives_being_written_as_data() -> None:
    assert machine_from_data(machine_to_data(MACHINE)) == MACHINE


@pytest.mark.parametrize(
    ("features", "width"),
    [(("avx512f", "avx2", "fma"), 64), (("avx2", "fma"), 32), (("avx2",), 16), (("neon",), 16)],
)
def test_vectors_are_as_wide_as_the_fused_multiply_add(
    features: tuple[str, ...], width: int
) -> None:
    assert replace(MACHINE, features=features).vector_bytes() == width


def test_cores_and_memory_are_positive_and_no_more_than_there_are() -> None:
    machine = detect_machine()
    assert 1 <= usable_cores() == machine.cores
    assert 0 < available_memory_bytes() <= machine.memory_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 2**32), ("512M", 2**29), ("512 MiB", 2**29), ("1.5k", 1536), ("1000", 1000)],
)
def test_sizes_count_by_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "-1", "0", "4X", "1e9", "4 G B"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(GemmbenchError, match="expected a size such as 4G"):
        parse_size(text)
