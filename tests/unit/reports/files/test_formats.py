"""Which suffix stands for which format of report: reports/files/formats.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.reports.files.formats import FORMATS, merge_formats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.reports.result import TestResult


def as_csv(results: Sequence[TestResult], session: Mapping[str, Any]) -> str:
    return ""


def test_what_others_add_stands_beside_what_is_there() -> None:
    assert merge_formats([{".csv": as_csv}, {}]) == {**FORMATS, ".csv": as_csv}


@pytest.mark.parametrize("suffix", ["csv", ".", "", ".tar.gz", "out.csv"])
def test_what_no_path_ends_with_is_refused(suffix: str) -> None:
    with pytest.raises(ValueError, match=r"is not a suffix: write it like '\.csv'$"):
        merge_formats([{suffix: as_csv}])


def test_a_suffix_has_one_format_in_small_and_in_capital_letters() -> None:
    assert ".csv" in merge_formats([{".CSV": as_csv}])
    with pytest.raises(ValueError, match=r"\.JSON has a format already$"):
        merge_formats([{".JSON": as_csv}])


def test_no_suffix_has_two_formats() -> None:
    with pytest.raises(ValueError, match=r"\.json has a format already$"):
        merge_formats([{".json": as_csv}])
    with pytest.raises(ValueError, match=r"\.csv has a format already$"):
        merge_formats([{".csv": as_csv}, {".csv": as_csv}])


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ([".csv"], r"\['.csv'\] is not a dict from suffix to function"),
        ({3: as_csv}, r"3 is not a suffix: write it like '\.csv'"),
        ({".csv": "as_csv"}, r"\.csv has 'as_csv' in place of a function"),
    ],
)
def test_what_is_of_another_type_is_refused_in_one_line(addition: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^pytest_llmperf_reports: {message}$"):
        merge_formats([addition])
