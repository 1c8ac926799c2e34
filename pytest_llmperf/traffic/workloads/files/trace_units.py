"""The units of a trace that no line of it states: those of its timestamps, and the tokens of a block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.units import check_count

if TYPE_CHECKING:
    from collections.abc import Sequence

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""The units of timestamps in seconds."""
_DEFAULT = "ms"
# Seconds since 1970 from 2001 to 2286; timestamps that all lie in this range times a unit are dates in that unit.
_DATES = (1e9, 1e10)
# The mean gap of a trace in milliseconds: a shorter one is more likely in seconds, a longer one in finer units.
_GAPS = (10.0, 100_000.0)
# Tokens of a block: Mooncake's, and those of Bailian and of vLLM's cache.
_BLOCKS = (512, 16)


class TimeUnit:
    """Finds the unit of the timestamps of a file.

    ``given`` is the caller's ``time_unit=``, None without one. Timestamps are taken for milliseconds unless the format
    states another unit or they are dates; where they cannot be milliseconds, the unit must be given.

    Raises:
        ValueError: ``given`` is no unit.
    """

    def __init__(self, given: str | None) -> None:
        if given is not None and given not in UNITS:
            raise ValueError(f"time_unit={given!r} is not one of {', '.join(map(repr, UNITS))}")
        self._given = given
        self._stated: str | None = None
        self._noted = False

    def note(self, stated: str | None) -> None:
        """Notes the unit of a timestamp that its format states, if any.

        Raises:
            ValueError: the format states another unit than is given, or than it stated before.
        """
        if self._noted and stated == self._stated:
            return
        if stated is not None and self._given not in (None, stated):
            raise ValueError(f"timestamp is in {stated!r}, not in time_unit={self._given!r}: leave out time_unit")
        if self._noted:
            raise ValueError("timestamp is in another unit than those before")
        self._stated, self._noted = stated, True

    def find(self, name: str, stamps: Sequence[float], lines: Sequence[int]) -> float:
        """Returns the unit of all timestamps in seconds. ``lines`` are the lines of the file ``name`` that they are in.

        Raises:
            ValueError: it is not known.
        """
        least, most = min(stamps), max(stamps)
        if unit := self._given or self._stated or _find_date_unit(least, most):
            return UNITS[unit]
        if least == most:
            return UNITS[_DEFAULT]
        which = "give time_unit='s' or another of " + ", ".join(UNITS)
        fraction = next((number for number, stamp in enumerate(stamps) if not stamp.is_integer()), None)
        if fraction is not None:
            where = f"{name}:{lines[fraction]}: timestamp is {stamps[fraction]!r}"
            raise ValueError(f"{where}, no whole number of milliseconds: {which}")
        gap = (most - least) / (len(stamps) - 1)
        if _GAPS[0] <= gap <= _GAPS[1]:
            return UNITS[_DEFAULT]
        raise ValueError(
            f"{name}: the {len(stamps)} values of timestamp are {gap:g} apart on average, hardly milliseconds: {which}"
        )


def _find_date_unit(least: float, most: float) -> str | None:
    for unit, size in UNITS.items():
        if _DATES[0] <= least * size and most * size < _DATES[1]:
            return unit
    return None


class BlockTokens:
    """Finds the tokens of a block of ``hash_ids``.

    ``given`` is the caller's ``block_tokens=``. Without it blocks have 512 tokens or 16, whichever fits every line. A
    number of blocks fits a prompt if they cover it, where the last one may be cut or be left out.

    Raises:
        ValueError: ``given`` is not a number of tokens.
    """

    def __init__(self, given: int | None) -> None:
        if given is not None:
            check_count("block_tokens", given)
        self._given = given
        sizes: tuple[int, ...] = _BLOCKS if given is None else (given,)
        self._covering = self._fitting = sizes
        self._seen = False

    def add(self, prompt_tokens: int, blocks: int) -> None:
        """Adds the length of a prompt and its number of blocks.

        Raises:
            ValueError: the number fits no size of blocks that fits the lines before.
        """
        self._seen = True
        if self._covering == self._fitting and all(blocks == -(-prompt_tokens // size) for size in self._covering):
            return
        covering = [size for size in self._covering if blocks == -(-prompt_tokens // size)]
        fitting = [size for size in self._fitting if blocks in (prompt_tokens // size, -(-prompt_tokens // size))]
        self._covering = tuple(covering)
        if not fitting:
            sizes = " or ".join(map(str, self._fitting))
            hint = "mend the line or the argument" if self._given else "give block_tokens=, the tokens of a block"
            raise ValueError(
                f"hash_ids has {blocks} blocks, which do not fit an input_length of {prompt_tokens} "
                f"in blocks of {sizes} tokens: {hint}"
            )
        self._fitting = tuple(fitting)

    def find(self, name: str) -> int:
        """Returns the tokens of a block; of a file without blocks, those of the first size.

        Raises:
            ValueError: ``block_tokens=`` was given for a file without blocks, or several sizes fit all lines.
        """
        if self._given is not None and not self._seen:
            raise ValueError(f"block_tokens={self._given} is for a file with hash_ids; {name} has none")
        # Sizes that all cover every line have prompts within one block of each, and give the same texts.
        if self._fitting != self._covering and len(self._fitting) > 1:
            raise ValueError(
                f"{name}: the numbers of hash_ids fit blocks of {' and of '.join(map(str, self._fitting))} tokens: "
                "give block_tokens="
            )
        return self._fitting[0]
