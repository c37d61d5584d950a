"""The analytical model: what it picks, and why, on machines that are described, not measured."""

import dataclasses

import pytest

from gemmbench.problem import Conv2d, Gemm, Linear
from gemmbench_backends.numba_cpu.model import rows_collide

from .reference import BACKEND, HERE

ZEN4 = dataclasses.replace(
    HERE, l1d_bytes=32 * 1024, l2_bytes=1024**2, features=("avx512f",), system="Linux x86_64"
)
ZEN3 = dataclasses.replace(ZEN4, l2_bytes=512 * 1024, l3_bytes=32 * 1024**2, features=("avx2",))
UNKNOWN_L3 = dataclasses.replace(ZEN3, l3_bytes=0)
NEON = dataclasses.replace(UNKNOWN_L3, features=("neon",), system="Linux aarch64")
CHOICE = {"algorithm": "gemm", "weights": "plain", "threads": 1}


def default(problem, **choice):
    return BACKEND.search_space(problem, ZEN4, CHOICE | choice).default


@pytest.mark.parametrize(
    ("rows", "ld", "collide"),
    [
        (8, 4096, False),
        (9, 4096, True),
        (9, 4096 + 4, True),  # a few bytes off a page are the same lines all the same
        (9, 4096 + 64, False),
        (16, 2048, False),
        (17, 2048, True),
        (14, 1152 * 4, False),
        (16, 4, False),  # one line holds them all
    ],
)
def test_rows_collide_when_more_share_a_set_than_it_has_ways(rows, ld, collide):
    assert rows_collide(rows, ld, 32 * 1024) is collide


def test_block_is_low_where_rows_of_a_share_their_sets():
    assert default(Gemm(1000, 4096, 192))["mr"] <= 8
    assert default(Gemm(1000, 4000, 192))["mr"] > 8


def test_few_rows_read_a_large_b_in_its_own_order():
    few = default(Gemm(35, 8457, 2560))
    assert (few["order"], few["nc"], few["pack_b"]) == ("rows", 2560, "fused")
    assert few["kc"] <= 64
    assert default(Gemm(35, 256, 256))["pack_b"] == "off"


def test_a_panel_meets_all_of_a_that_stays_in_cache():
    assert default(Gemm(128, 1200, 729))["order"] == "panels"
    assert default(Gemm(1024, 1200, 729))["order"] == "rows"


def test_few_rows_that_share_their_sets_are_packed_once():
    config = default(Linear(10, 4096, 1000), weights="prepared")
    assert (config["pack_a"], config["nc"]) == ("on", 1000)
    assert default(Linear(10, 4000, 1000), weights="prepared")["pack_a"] == "off"


def test_one_row_of_c_takes_whole_rows_of_b():
    for m, path in ((1, "rows"), (2, "rows"), (4, "tiles")):
        assert default(Gemm(m, 4096, 4096))["path"] == path
    assert "path" not in default(Gemm(5, 4096, 4096))
    assert default(Gemm(1, 4096, 100))["path"] == "tiles"


def test_rows_of_b_in_cache_do_not_share_their_sets_either():
    assert default(Gemm(1, 1024, 1024))["kc"] == 8
    assert default(Gemm(1, 1024, 1000))["kc"] == 12


def test_threads_share_the_side_that_divides_best():
    """169 columns are 11 registers, which two threads cannot share evenly; 128 rows they can."""
    assert default(Gemm(128, 1728, 169), threads=2)["grid"] == "1x2x1"
    assert default(Gemm(96, 363, 3025), threads=2)["grid"] == "1x1x2"


def test_threads_take_whole_images_only_where_they_come_out_even():
    def grid(batch):
        problem = Conv2d(batch, 64, 14, 14, 64, (3, 3), pad=(1, 1))
        return default(problem, algorithm="implicit-gemm", threads=2)["grid"]

    assert grid(10) == "2x1x1"
    assert grid(1) != "2x1x1"
    assert grid(3) != "2x1x1"


@pytest.mark.parametrize("l2", [256, 512, 1024, 2048])
@pytest.mark.parametrize("threads", [1, 4, 16])
@pytest.mark.parametrize(
    "shape", [(1024, 512, 128), (1000, 1024, 64), (512, 512, 64), (9000, 9, 9)]
)
def test_the_default_keeps_the_rules_on_any_machine(shape, threads, l2):
    machine = dataclasses.replace(ZEN4, l2_bytes=l2 * 1024)
    space = BACKEND.search_space(Gemm(*shape), machine, CHOICE | {"threads": threads})
    assert space.default in space


@pytest.mark.parametrize("machine", [ZEN4, ZEN3, UNKNOWN_L3, NEON])
@pytest.mark.parametrize(
    "problem",
    [
        Gemm(20000, 256, 16),
        Gemm(20000, 20000, 16),
        Gemm(35, 8457, 2560),
        Gemm(3, 5000, 7),
        Linear(16, 4096, 32000),
        Linear(8, 4096, 128256),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_tall_and_flat_products_have_a_default_that_keeps_the_rules(machine, problem, threads):
    space = BACKEND.search_space(problem, machine, CHOICE | {"threads": threads})
    assert space.default in space


def short_registers(problem, **choice):
    return BACKEND.search_space(problem, ZEN3, CHOICE | choice).default


def test_short_registers_multiply_a_slim_b_over_all_of_k_at_once():
    found = short_registers(Gemm(1000, 4096, 128))
    assert (found["kc"], found["nc"], found["order"]) == (4096, 128, "rows")


def test_short_registers_pack_a_block_of_a_where_c_leaves_the_cache():
    found = short_registers(Gemm(2048, 2048, 2048))
    assert (found["pack_a"], found["order"], found["mc"], found["kc"]) == ("on", "panels", 96, 512)
    assert short_registers(Gemm(512, 512, 512))["pack_a"] == "off"


def test_short_registers_use_a_panel_of_a_wide_b_with_all_of_a_few_rows():
    found = short_registers(Gemm(96, 363, 3025))
    assert (found["kc"], found["nc"], found["order"]) == (363, 3025, "panels")


@pytest.mark.parametrize(
    ("m", "k", "n", "mr", "streams"),
    [
        (256, 1152, 192, 4, True),
        (90, 1200, 729, 4, True),
        (95, 600, 729, 6, False),  # A stays in L2
        (1000, 4096, 128, 6, False),  # A is more than a core's share of L3
        (512, 512, 512, 4, True),
        (1024, 1024, 1024, 6, False),  # C is more than twice L2
        (256, 1152, 17, 6, True),  # a row of C is two registers and a lone column
    ],
)
def test_short_registers_stream_an_a_that_only_l3_holds_past_panels_of_b(m, k, n, mr, streams):
    found = short_registers(Gemm(m, k, n))
    assert found["mr"] == mr
    assert ((found["order"], found["kc"]) == ("panels", k)) == streams


def test_short_registers_pack_a_few_rows_that_split_evenly():
    found = short_registers(Gemm(35, 8457, 2560))
    assert (found["mr"], found["pack_a"], found["kc"], found["ku"]) == (5, "on", 252, 4)
    assert short_registers(Gemm(64, 2304, 3136))["pack_a"] == "off"  # neither 6 nor 5 divides 64
    assert short_registers(Gemm(10, 4096, 4096))["pack_a"] == "off"  # two tiles


def test_short_registers_cut_a_convolution_into_square_blocks_of_b():
    problem = Conv2d(1, 256, 56, 56, 256, (3, 3), pad=(1, 1))
    found = short_registers(problem, algorithm="implicit-gemm")
    assert (found["kc"], found["nc"], found["order"]) == (256, 256, "rows")
