"""What the devices cost, as the project states it."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Prices:
    """Prices in one currency.

    Attributes:
        currency: as it was written: ``EUR``.
        per_hour: for globs over the names of devices, in order, what one device costs in an hour.
        per_kwh: what a kilowatt-hour costs; None if the prices of the devices include it.
        prompt_weight: how many output tokens a prompt token counts as, for the price of a token.
    """

    currency: str
    per_hour: tuple[tuple[str, float], ...] = ()
    per_kwh: float | None = None
    prompt_weight: float = 0.0

    def find(self, device: str) -> float | None:
        """What a device of this name costs in an hour, by the first glob that matches; None if none does."""
        found = (price for glob, price in self.per_hour if device == glob or fnmatchcase(device, glob))
        return next(found, None)
