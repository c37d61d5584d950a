"""Recorded spaces: both formats, gzipped, cut short, and refused."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from gemmbench.errors import GemmbenchError
from gemmbench.recorded import load_recorded

CSV = "tile,order,unroll,time_ms\n8,rows,1,2.0\n16,rows,1,\n8,panels,3,0.5\n"


def cache(**changes) -> dict:
    entries = {
        "8,rows,1": {"tile": 8, "order": "rows", "unroll": 1, "time": 2.0, "times": [2.0, 2.1]},
        "16,rows,1": {"tile": 16, "order": "rows", "unroll": 1, "time": "RuntimeFailedConfig"},
        "8,panels,3": {"tile": 8, "order": "panels", "unroll": 3, "time": 0.5},
    }
    whole = {"device_name": "d", "kernel_name": "k", "problem_size": 4, "objective": "time"}
    whole |= {"tune_params_keys": ["tile", "order", "unroll"], "tune_params": {}, "cache": entries}
    return whole | changes


def load(tmp_path: Path, text: str, name: str = "some_space.csv"):
    path = tmp_path / name
    path.write_text(text)
    return load_recorded(path)


def assert_is_the_example(recorded) -> None:
    assert [(axis.name, axis.values, axis.kind) for axis in recorded.space.axes] == [
        ("tile", (8, 16), "pow2"),
        ("order", ("panels", "rows"), "categorical"),
        ("unroll", (1, 3), "ordered"),
    ]
    assert list(recorded.space) == [
        {"tile": 8, "order": "rows", "unroll": 1},
        {"tile": 16, "order": "rows", "unroll": 1},
        {"tile": 8, "order": "panels", "unroll": 3},
    ]
    np.testing.assert_allclose(recorded.seconds, [0.002, np.nan, 0.0005])
    assert recorded.optimum() == 0.0005


def test_csv_is_a_space_with_times(tmp_path: Path) -> None:
    recorded = load(tmp_path, CSV)
    assert recorded.name == "some_space"
    assert_is_the_example(recorded)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + CSV,
        CSV + "\n",
        CSV + "\n  \n\n",
        CSV.replace("16,rows,1,\n", "16,rows,1,nan\n"),
        CSV.replace("16,rows,1,\n", "16,rows,1, NaN\n"),
        CSV.replace("\n", "\r\n"),
    ],
    ids=["byte order mark", "blank line", "blank lines", "nan", "NaN", "carriage returns"],
)
def test_csv_as_other_programs_write_it_is_read_too(tmp_path: Path, text: str) -> None:
    assert_is_the_example(load(tmp_path, text))


def test_a_kernel_tuner_cache_is_a_space_with_times(tmp_path: Path) -> None:
    assert_is_the_example(load(tmp_path, json.dumps(cache()), "some.json"))


def test_gzip_is_read_whatever_the_name(tmp_path: Path) -> None:
    path = tmp_path / "some_space.csv.gz"
    path.write_bytes(gzip.compress(CSV.encode()))
    assert load_recorded(path).name == "some_space"
    assert_is_the_example(load_recorded(path))


@pytest.mark.parametrize("end", [",", ",\n", ',\n"8,rows,3": {"tile": 8, "or', ",\n}}", "}"])
def test_a_cache_that_was_cut_short_keeps_its_complete_entries(tmp_path: Path, end: str) -> None:
    text = json.dumps(cache(), indent=0)
    assert text.endswith("}\n}\n}")
    assert_is_the_example(load(tmp_path, text[: text.rindex("}\n}\n}")] + "}" + end))


def test_a_config_that_breaks_a_restriction_is_no_part_of_the_space(tmp_path: Path) -> None:
    data = cache()
    data["cache"]["x"] = {"tile": 32, "order": "rows", "unroll": 1, "time": "InvalidConfig"}
    assert_is_the_example(load(tmp_path, json.dumps(data)))


def test_an_excerpt_of_a_real_cache_agrees_with_its_csv() -> None:
    folder = Path(__file__).parents[1] / "data"
    path = folder / "kernel_tuner_cache_convolution_A4000_excerpt.json.gz"
    recorded = load_recorded(path)
    assert recorded.space.size() == 100
    assert [axis.name for axis in recorded.space.axes][:2] == ["block_size_x", "block_size_y"]
    text = gzip.decompress(path.read_bytes()).decode()
    assert text.rstrip().endswith(","), "the excerpt is an interrupted run's"
    with gzip.open(folder / "convmilo_A4000.csv.gz", "rt") as file:
        rows = {tuple(row[:-1]): row[-1] for row in csv.reader(file)}
    for config, seconds in zip(recorded.space, recorded.seconds, strict=True):
        given = rows[tuple(str(value) for value in config.values())]
        expected = float(given) / 1e3 if given else np.nan
        np.testing.assert_allclose(seconds, expected)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "s.csv: neither a Kernel Tuner cache nor CSV with the last column 'time_ms'."),
        ("a,b\n1,2\n", "s.csv: neither a Kernel Tuner cache nor CSV with the last column"),
        ("a,time_ms\n1,2,3\n", "s.csv: line 2: got 3 cells, expected 2."),
        ("a,time_ms\n1,-2\n", "s.csv: line 2: time_ms: got '-2', expected a positive number."),
        ("a,time_ms\n1,fast\n", "s.csv: line 2: time_ms: got 'fast', expected a positive"),
        ("a,time_ms\n1,\n", "s.csv: no config in it has a time."),
        ("a,time_ms\n1,2\n1,3\n", "s.csv: a config is listed twice."),
        ("{a", "s.csv: neither JSON nor the beginning of a Kernel Tuner cache."),
        ("{}", "s.csv: no Kernel Tuner cache: it lacks 'tune_params_keys'"),
        (
            '{"tune_params_keys": ["a"], "cache": {"1": {"time": 1}}}',
            "s.csv: cache['1']: lacks a value of ['a'].",
        ),
    ],
)
def test_a_file_that_is_neither_is_refused_in_one_line(
    tmp_path: Path, text: str, line: str
) -> None:
    with pytest.raises(GemmbenchError) as caught:
        load(tmp_path, text, "s.csv")
    assert str(caught.value).startswith(line)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GemmbenchError, match="not UTF-8"):
        load_recorded(path)
    path.write_bytes(gzip.compress(CSV.encode())[:-12])
    with pytest.raises(GemmbenchError, match="cannot be read"):
        load_recorded(path)
