"""PageSeries as they are written in ``llmperf.toml``."""

from __future__ import annotations

import pytest

from pytest_llmperf.measurement.pages.series import PageSeries


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("sglang:num_running_reqs", {}),
        ("a{}", {}),
        ('a{model="q",engine="0"}', {"model": "q", "engine": "0"}),
        ('a { model = "q" , }', {"model": "q"}),
        (r'a{path="C:\\new\n\"x\""}', {"path": 'C:\\new\n"x"'}),
        ('a{b="}, c"}', {"b": "}, c"}),
    ],
)
def test_a_series_is_a_name_and_labels(text: str, labels: dict[str, str]) -> None:
    found = PageSeries.parse(text)
    assert dict(found.labels) == labels
    assert found.matches(found.name, {**labels, "further": "x"})
    assert not found.matches("b", labels)
    assert not labels or not found.matches(found.name, {})


@pytest.mark.parametrize(
    "text", ["", "1a", "a b", "a{b=c}", 'a{b="c"', 'a{b="c" d="e"}', 'a{b!="c"}', "rate(a)", "a 1"]
)
def test_what_is_no_series_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a series: write it as on the page"):
        PageSeries.parse(text)


def test_a_label_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="has a label twice"):
        PageSeries.parse('a{b="c",b="d"}')


def test_parts_of_a_histogram_keep_its_labels() -> None:
    part = PageSeries.parse('wait_seconds{engine="0"}').rename("_sum")
    assert (part.name, part.text) == ("wait_seconds_sum", 'wait_seconds_sum{engine="0"}')
    assert part.matches("wait_seconds_sum", {"engine": "0"})
