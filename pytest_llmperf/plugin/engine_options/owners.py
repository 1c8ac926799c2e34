"""Options that may be for one engine of a run: ``[ENGINE or LABEL:]VALUE``.

A value for the label of an engine beats one for its name, which beats one for all engines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_llmperf.engines.api.spec import EngineSpec

LABEL = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_LABEL = re.compile(LABEL)
_OWNED_URL = re.compile(rf"({LABEL}):(https?://.*)", re.IGNORECASE | re.DOTALL)
URL, ARGUMENT, PROGRAM = "--llmperf-url", "--llmperf-engine-arg", "--llmperf-engine-bin"
METRICS = "--llmperf-metrics"


class Owned(NamedTuple):
    """A value of an option.

    ``owner`` is the label or the name of the engines that it is for, empty for all. ``key`` is what of an engine it
    sets, where that is more than one thing: the name of a setting. ``text`` is the whole as it was given.
    """

    owner: str
    key: str
    value: str
    text: str


def parse_owned(flag: str, text: str) -> Owned:
    """Divides a value of :data:`URL`, :data:`ARGUMENT`, :data:`PROGRAM` or :data:`METRICS`.

    Raises:
        ValueError: a setting has no name or no value.
    """
    if flag == ARGUMENT:
        left, equals, value = text.partition("=")
        owner, _, key = left.rpartition(":")
        if not equals or not key:
            raise ValueError(f"{ARGUMENT}={text} is not [ENGINE or LABEL:]KEY=VALUE")
        return Owned(owner, key, value, text)
    if flag in (URL, METRICS):
        found = _OWNED_URL.fullmatch(text)
        return Owned(found[1], "", found[2], text) if found else Owned("", "", text, text)
    owner, colon, path = text.partition(":")
    return Owned(owner, "", path, text) if colon and is_label(owner) else Owned("", "", text, text)


def parse_all(flag: str, texts: Iterable[str]) -> list[Owned]:
    """Divides all values of an option, in order."""
    return [parse_owned(flag, text) for text in texts]


def is_label(text: str) -> bool:
    """Whether a text can be a label: up to 64 letters, digits, ``-``, ``_`` and ``.``, the first a letter or digit."""
    return _LABEL.fullmatch(text) is not None


def choose(values: Iterable[Owned], engine: str, variant: str) -> dict[str, Owned]:
    """For each key the value that an engine gets; of several for the same owner it is the last."""
    chosen: dict[str, Owned] = {}
    given = list(values)
    for owner in ("", engine, *([variant] if variant else [])):
        chosen |= {value.key: value for value in given if value.owner == owner}
    return chosen


def choose_all(values: Sequence[Owned], engine: str, variant: str) -> list[Owned]:
    """The values that an engine gets where it may have several: those for its label, for its name, or for all."""
    owners = [*([variant] if variant else []), engine, ""]
    found = ([value for value in values if value.owner == owner] for owner in owners)
    return next((chosen for chosen in found if chosen), [])


def find_repeated(flag: str, values: Sequence[Owned]) -> Iterator[str]:
    """A sentence for each value that another one for the same owner and key would silently replace."""
    first: dict[tuple[str, str], str] = {}
    for value in values:
        before = first.setdefault((value.owner, value.key), value.text)
        if before != value.text:
            twice = f"{flag} is given twice, as {before} and as {value.text}, and only the last would have an effect"
            yield f"{twice}{_SEVERAL_SERVERS}" if flag == URL else twice


_SEVERAL_SERVERS = (
    "; name each server as an engine of the run, --llm-engine=LABEL=ENGINE, and say whose URL it is, "
    "--llmperf-url=LABEL:URL"
)


def why_unused(flag: str, value: Owned, values: Sequence[Owned], engines: Sequence[EngineSpec]) -> str:
    """Why a value reaches no engine of the run, or ""; ``values`` are all of its option."""
    theirs = [spec for spec in engines if value.owner in ("", spec.engine, spec.variant)]
    if not theirs:
        named = ", ".join(dict.fromkeys(_name(spec) for spec in engines))
        has = "the engine of this run is" if len(engines) == 1 else "the engines of this run are"
        return f"{flag}={value.text} has no effect: {has} {named}"
    winners = [choose(values, spec.engine, spec.variant)[value.key] for spec in theirs]
    if all((winner.owner, winner.key) != (value.owner, value.key) for winner in winners):
        others = " and ".join(dict.fromkeys(f"{flag}={winner.text}" for winner in winners))
        return f"{flag}={value.text} has no effect: {others} beats it"
    return ""


def _name(spec: EngineSpec) -> str:
    return f"{spec.variant} ({spec.engine})" if spec.variant else spec.engine
