"""The pairs of an A/B in columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def compact_pairs(pairs: Mapping[str, Any]) -> dict[str, Any]:
    """The pairs with the ``values`` of each limit as lists ``new`` and ``old``, null where there is none.

    ``reasons`` has why pairs are left out, by their place.
    """
    if "values" not in pairs:
        return dict(pairs)
    return {**pairs, "values": {name: _to_columns(rows) for name, rows in pairs["values"].items()}}


def expand_pairs(written: Mapping[str, Any]) -> dict[str, Any]:
    """The pairs that :func:`compact_pairs` made ``written`` of."""
    if "values" not in written:
        return dict(written)
    return {**written, "values": {name: _to_rows(columns) for name, columns in written["values"].items()}}


def _to_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    reasons = {str(place): row["reason"] for place, row in enumerate(rows) if row["reason"]}
    sides = {side: [row.get(side) for row in rows] for side in ("new", "old")}
    return {**sides, "reasons": reasons} if reasons else sides


def _to_rows(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    reasons = columns.get("reasons", {})
    rows = []
    for place, (new, old) in enumerate(zip(columns["new"], columns["old"], strict=True)):
        values = {side: value for side, value in (("new", new), ("old", old)) if value is not None}
        rows.append({**values, "reason": reasons.get(str(place), "")})
    return rows
