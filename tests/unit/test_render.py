import csv
import io
import json
from math import inf, nan

from gemmbench_results.report.render import csv_text, json_text, table_text

COLUMNS = {"name": "left", "n": "right"}


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_no_rows_are_no_table_and_no_csv():
    assert table_text(COLUMNS, [], "table") == ""
    assert csv_text([]) == ""


def test_names_cannot_break_a_markdown_table():
    assert "a\\|b\\*" in table_text(COLUMNS, [["a|b*", "1"]], "markdown")


def test_a_name_cannot_move_the_cursor():
    assert "\x1b" not in table_text(COLUMNS, [["\x1b[2J", "1"]], "table")


def test_nested_values_become_columns_and_free_mappings_json():
    (row,) = read(csv_text([{"seconds": {"median": 0.5, "low": None}, "config": {"mr": 8}}]))
    assert row == {"seconds.median": "0.5", "seconds.low": "", "config": '{"mr": 8}'}


def test_a_mapping_that_a_row_lacks_makes_no_empty_column():
    timed = {"state": "COMPLETE", "seconds": {"median": 0.5}, "gflops": 1.0}
    failed = {"state": "FAILED", "seconds": None, "gflops": None}
    for rows in ([timed, failed], [failed, timed]):
        first, second = read(csv_text(rows))
        assert set(first) == {"state", "seconds.median", "gflops"}
        assert {first["seconds.median"], second["seconds.median"]} == {"0.5", ""}
    assert read(csv_text([failed])) == [{"state": "FAILED", "seconds": "", "gflops": ""}]


def test_rows_that_lack_a_column_leave_it_empty():
    assert read(csv_text([{"a": 1}, {"b": True}])) == [{"a": "1", "b": ""}, {"a": "", "b": "true"}]


def test_numbers_that_are_not_finite_are_missing():
    assert read(csv_text([{"a": inf, "b": [nan]}])) == [{"a": "", "b": "[null]"}]
    assert json.loads(json_text({"a": inf, "b": (nan, 1.0)})) == {"a": None, "b": [None, 1.0]}


def test_a_spreadsheet_computes_nothing_that_a_name_says():
    assert read(csv_text([{"layer": "=1+1"}])) == [{"layer": "'=1+1"}]
