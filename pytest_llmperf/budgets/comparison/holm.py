"""Several comparisons in one session: how sure each must be, so that the session as a whole is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_broken(p_values: Sequence[float], error: float, count: int) -> list[int]:
    """Which of ``count`` comparisons of a session are broken, by their place in ``p_values`` (Holm 1979).

    The probability that any of them is wrongly broken is at most ``error``. The smallest p-value is compared with
    error ÷ count, the next with error ÷ (count − 1), and so on until one is larger. Comparisons without a p-value count
    and are never broken.
    """
    broken: list[int] = []
    for place in sorted(range(len(p_values)), key=lambda place: p_values[place]):
        if p_values[place] > error / max(1, count - len(broken)):
            break
        broken.append(place)
    return sorted(broken)
