"""The words of a command line that hold for one test as well: without the choice of tests and without other outputs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WITH_VALUE = frozenset(
    {
        "--llmperf-report",
        "--llmperf-save",
        "--llmperf-save-reference",
        "--junitxml",
        "--junit-xml",
        "--html",
        "--css",
        "--report-log",
        "--benchmark-json",
        "--deselect",
        "--ignore",
        "--ignore-glob",
        "--maxfail",
        "--last-failed-no-failures",
        "--lfnf",
        "-k",
        "-m",
    }
)
_ALONE = frozenset(
    {
        "--llmperf-save-anyway",
        "--self-contained-html",
        "--lf",
        "--last-failed",
        "--ff",
        "--failed-first",
        "--nf",
        "--new-first",
        "--sw",
        "--stepwise",
        "--sw-skip",
        "--stepwise-skip",
        "--sw-reset",
        "--stepwise-reset",
        "--exitfirst",
        "--pyargs",
        "-x",
    }
)


def list_words_for_one_test(arguments: Sequence[str], tests: Sequence[str]) -> list[str]:
    """The words of a command line that a run of one of its tests takes too.

    Args:
        arguments: of pytest, without its name.
        tests: its positional arguments, as pytest has read them; some may be from the configuration file.
    """
    left_out = {*_find_positional(arguments, tests), *_find_outputs(arguments)}
    return [word for at, word in enumerate(arguments) if at not in left_out]


def _find_positional(arguments: Sequence[str], tests: Sequence[str]) -> Iterator[int]:
    """The places of the positional arguments, and of ``--`` before them.

    A word that stands on the command line more often than among the tests is a value of an option as well.
    """
    for test, count in Counter(tests).items():
        places = [at for at, word in enumerate(arguments) if word == test]
        yield from sorted(places, key=lambda at: (_may_take_value(arguments[at - 1]) if at else False, -at))[:count]
    yield from (at for at, word in enumerate(arguments) if word == "--")


def _find_outputs(arguments: Sequence[str]) -> Iterator[int]:
    """The places of options that choose tests or write something, and of their values."""
    for at, word in enumerate(arguments):
        name, equals, _ = word.partition("=")
        if word in _ALONE or (equals and name in _WITH_VALUE) or (word[:2] in ("-k", "-m") and len(word) > 2):
            yield at
        elif word in _WITH_VALUE:
            yield from (at, at + 1)


def _may_take_value(word: str) -> bool:
    return word.startswith("-") and "=" not in word
