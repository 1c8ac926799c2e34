"""What a terminal would obey is not in texts of others."""

from __future__ import annotations

import pytest

from pytest_llmperf.system.printable import make_printable


@pytest.mark.parametrize(
    "obeyed",
    [
        "\x1b[31m",
        "\x1b]0;title\x07",
        "\x9b31m",
        "\x9d0;title\x9c",
        "\r",
        "\b",
        "\x00",
        "\x7f",
        "\u202e",
        "\u2066",
        "\ud83d",
    ],
)
def test_what_is_obeyed_is_replaced(obeyed: str) -> None:
    shown = make_printable(f"a{obeyed}b")
    assert shown.isprintable()
    assert (shown[0], shown[-1]) == ("a", "b")


@pytest.mark.parametrize("text", ["", "plain", "größer ≤ 日本", "two\nlines\tand a tab"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert make_printable(text) == text
