from __future__ import annotations

import random
import re

import pytest

from pytest_llmperf.engines.simulated.model.pattern_text import PatternError, make_text

PATTERNS = [
    *("", "abc", "^abc$", "a|b", "^(a|bc|)$", "a*", "a+b?", "a{3}", "a{2,}", "a{0,4}", "^(ab){2,3}$", "a*?b+?"),
    *(r"\d+", r"^\w{4}$", r"\s", r"\.", r"^\d{4}-\d{2}-\d{2}$", r"\bword\b", r"^\D\W\S$", r"\t\n"),
    *("[abc]", "[a-f0-9]{8}", "[^a-z]", "^[^a-zA-Z0-9_]$", r"[\d.]+", "[]]", "[a-]", r"^[\w.+-]+@[\w-]+\.[a-z]{2,}$"),
    *("(?:ab)+", "(?P<year>[0-9]{4})", "^((a|b)(c|d)){2}$", ".{5}", "^.*$"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_text_matches_its_pattern(pattern: str) -> None:
    for seed in range(20):
        assert re.search(pattern, make_text(pattern, random.Random(seed)))


@pytest.mark.parametrize(
    ("pattern", "least", "most"), [("^[a-z]+$", 12, 20), ("^a*$", 5, 5), ("^(ab)*$", 4, 9), ("x", 1, 1)]
)
def test_its_length_is_as_asked(pattern: str, least: int, most: int) -> None:
    for seed in range(20):
        assert least <= len(make_text(pattern, random.Random(seed), least, most)) <= most


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"the pattern '\(' is none: "),
        (r"(a)\1", r"the pattern '\(a\)\\\\1' has a part that is not known here: '\\1'"),
        ("(?!a)b", r"the pattern '\(\?!a\)b' has a group that is not known here: '\(\?!a\)b'"),
        (r"(?<=a)b", r"the pattern .* has a group that is not known here"),
    ],
)
def test_what_is_not_known_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(PatternError, match=message):
        make_text(pattern, random.Random(0))
