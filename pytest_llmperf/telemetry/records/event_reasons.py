"""The reasons for which a device holds its clocks back, as REASONS and THROTTLE records carry them for any vendor."""

from __future__ import annotations

from enum import IntFlag


class EventReason(IntFlag):
    """A reason for lower clocks: several in the ``value`` of a REASONS record, one in the ``detail`` of a THROTTLE."""

    SOFTWARE_POWER_CAP = 1
    SYNC_BOOST = 2
    SOFTWARE_THERMAL = 4
    HARDWARE_THERMAL = 8
    HARDWARE_POWER_BRAKE = 16
    HARDWARE_SLOWDOWN = 32

    @property
    def label(self) -> str:
        """The reason in reports: ``software power cap``."""
        return (self.name or "").replace("_", " ").lower()
