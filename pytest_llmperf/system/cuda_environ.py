"""The environment variables by which CUDA chooses its devices."""

from __future__ import annotations

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
"""The devices that a process may use, in its order: indices, or UUIDs as the driver gives them."""

DEVICE_ORDER = "CUDA_DEVICE_ORDER"
"""What indices count: ``FASTEST_FIRST``, which is CUDA's default, or ``PCI_BUS_ID``, as the driver counts."""
