"""Devices behind DCGM exporters (GPUs of other hosts, or hidden from this process), read from Prometheus text.

An exporter does not read a device when its page is fetched: it shows what it collected last, by default every 30 s. Its
interval shows only in the times at which values change, and limits what can be measured; see ``analysis/cadence.py``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmperf.system.prometheus import MetricsPage
from pytest_llmperf.telemetry.records.event_reasons import EventReason
from pytest_llmperf.telemetry.records.ring import (
    DEVICE_MEMORY,
    ENERGY,
    MEMORY_TEMPERATURE,
    POWER,
    REASONS,
    SM_CLOCK,
    TEMPERATURE,
    THROTTLE,
    TICK,
    UTILIZATION,
    RingRecord,
)
from pytest_llmperf.telemetry.records.source import SLOTS_PER_EXPORTER, DeviceFacts, SourceError, Why
from pytest_llmperf.telemetry.sources.nvml.abi import read_event_reasons

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIRST_SLOT = 1000
_PORT = ":9400"
_URL = re.compile(r"(https?://)?(\[[0-9a-fA-F:.]+\]|[^\s/@:?#\[\]]+)(:\d+)?(/\S*)?")
_MIB = 2**20
_FIELD = "DCGM_FI_DEV_"


class _Counter(NamedTuple):
    """The value of a record: the first of ``fields`` that the page has, times ``scale``."""

    lane: int
    fields: tuple[str, ...]
    scale: int = 1
    detail: int = 0


_COUNTERS = (
    _Counter(DEVICE_MEMORY, ("FB_USED",), _MIB),
    _Counter(POWER, ("POWER_USAGE_INSTANT", "POWER_USAGE"), 1000),
    _Counter(ENERGY, ("TOTAL_ENERGY_CONSUMPTION",)),
    # DCGM defines the violations in nanoseconds; the help texts of older exporters call them microseconds.
    _Counter(THROTTLE, ("CLOCKS_EVENT_REASON_SW_POWER_CAP_NS", "POWER_VIOLATION"), 1, EventReason.SOFTWARE_POWER_CAP),
    _Counter(THROTTLE, ("CLOCKS_EVENT_REASON_SYNC_BOOST_NS", "SYNC_BOOST_VIOLATION"), detail=EventReason.SYNC_BOOST),
    _Counter(
        THROTTLE, ("CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN_NS", "THERMAL_VIOLATION"), 1, EventReason.SOFTWARE_THERMAL
    ),
    _Counter(THROTTLE, ("CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN_NS",), detail=EventReason.HARDWARE_THERMAL),
    _Counter(THROTTLE, ("CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN_NS",), detail=EventReason.HARDWARE_POWER_BRAKE),
    _Counter(REASONS, ("CLOCKS_EVENT_REASONS", "CLOCK_THROTTLE_REASONS")),
    _Counter(TEMPERATURE, ("GPU_TEMP",)),
    _Counter(MEMORY_TEMPERATURE, ("MEMORY_TEMP",)),
    _Counter(SM_CLOCK, ("SM_CLOCK",)),
    _Counter(UTILIZATION, ("GPU_UTIL",)),
)
_JUDGED = (DEVICE_MEMORY, POWER, ENERGY)
# DCGM's "blank" values: none yet, not found, not supported, not permitted; of 32-bit, real and 64-bit fields.
_BLANKS = frozenset(base + kind for base in (0x7FFFFFF0, 2**47) for kind in range(4))
_BLANK_FROM = float(2**63)


class DcgmBackend:
    """The devices of several exporters as one source; those of exporter i have slots from 1000 + 1000 × i.

    A MIG instance has no UUID on these pages: here it is ``MIG-`` with its GPU's UUID and the number of its instance.
    """

    name = "dcgm"

    def __init__(self, urls: Sequence[str], first_slot: int = FIRST_SLOT) -> None:
        """The exporters at these URLs, each as :func:`parse_exporter_url` takes it.

        Raises:
            SourceError: one of them is not the URL of a page.
        """
        try:
            self._pages = [MetricsPage(parse_exporter_url(url)) for url in urls]
        except ValueError as error:
            raise SourceError(str(error), Why.UNAVAILABLE) from None
        self._first_slot = first_slot
        self._slots: dict[str, int] = {}
        self._energy: dict[int, int] = {}

    def devices(self) -> list[DeviceFacts]:
        """Every device on the pages; one that several exporters show is listed once.

        Raises:
            SourceError: an exporter cannot be reached, its page is not DCGM's, or it has none of the needed fields.
        """
        devices: dict[str, DeviceFacts] = {}
        for number, page in enumerate(self._pages):
            rows = _rows(page, Why.UNAVAILABLE)
            if not any(row.value(c) is not None for row in rows for c in _COUNTERS if c.lane in _JUDGED):
                raise SourceError(_explain_missing(page.url, "FB_USED"), Why.UNAVAILABLE)
            parents = {row.parent for row in rows}
            new = [row for row in rows if row.uuid not in devices]
            for slot, row in enumerate(new, self._first_slot + SLOTS_PER_EXPORTER * number):
                devices[row.uuid] = row.facts(slot, page.url, has_instances=row.uuid in parents)
        self._slots = {uuid: facts.slot for uuid, facts in devices.items()}
        return list(devices.values())

    def source(self) -> DcgmBackend:
        """The source of the listed devices; call :meth:`devices` first."""
        return self

    def read(self, t_ns: int) -> list[RingRecord]:
        """Reads the page of each exporter, one after the other.

        Raises:
            SourceError: an exporter cannot be reached or shows no page of DCGM (``TRANSIENT``), or a listed device is
                not on any page any more (``LOST``).
        """
        rows = {row.uuid: row for page in reversed(self._pages) for row in _rows(page, Why.TRANSIENT)}
        gone = self._slots.keys() - rows.keys()
        if gone:
            raise SourceError(f"{min(gone)} is no longer on any page of the DCGM exporters", Why.LOST)
        return [record for uuid, slot in self._slots.items() for record in self._records(t_ns, slot, rows[uuid])]

    def close(self) -> None:
        """Closes the connections to the exporters."""
        for page in self._pages:
            page.close()

    def _records(self, t_ns: int, slot: int, row: _Row) -> list[RingRecord]:
        records = []
        for counter in _COUNTERS:
            value = row.value(counter)
            if value is not None:
                if counter.lane == REASONS:
                    value = read_event_reasons(value)
                flags = self._tick(slot, value) if counter.lane == ENERGY else 0
                records.append(RingRecord(t_ns, value, slot, counter.detail, counter.lane, flags))
        return records

    def _tick(self, slot: int, value: int) -> int:
        before = self._energy.get(slot, value)
        self._energy[slot] = value
        return TICK if value != before else 0


class _Row(NamedTuple):
    """The fields of one device on a page. ``parent`` is the UUID of its GPU if it is a MIG instance, else ""."""

    uuid: str
    parent: str
    name: str
    number: int
    fields: dict[str, float]

    def value(self, counter: _Counter) -> int | None:
        value = next((self.fields[field] for field in counter.fields if field in self.fields), None)
        # DCGM shows 0 °C for memory without a sensor.
        if value is None or (counter.lane == MEMORY_TEMPERATURE and value == 0):
            return None
        scaled = round(value * counter.scale)
        return scaled if scaled < _BLANK_FROM else None

    def facts(self, slot: int, url: str, *, has_instances: bool) -> DeviceFacts:
        fields = self.fields
        needed = ("FB_USED",) if "FB_TOTAL" in fields else ("FB_USED", "FB_FREE")
        missing = next((field for field in needed if field not in fields), "")
        total = fields.get("FB_TOTAL") or sum(fields.get(part, 0) for part in ("FB_USED", "FB_FREE", "FB_RESERVED"))
        return DeviceFacts(
            slot=slot,
            uuid=self.uuid,
            name=self.name,
            index=self.number,
            kind="cuda",
            backend=DcgmBackend.name,
            total_bytes=None if missing else round(total * _MIB),
            no_memory=_explain_missing(url, missing) if missing else "",
            parent=self.parent,
            has_instances=has_instances,
            memory_api="DCGM FB_USED",
        )


def _rows(page: MetricsPage, why: Why) -> list[_Row]:
    try:
        samples = page.read()
    except OSError as error:
        raise SourceError(f"the DCGM exporter cannot be read: {error}", why) from None
    rows: dict[str, _Row] = {}
    for sample in samples:
        if sample.name.startswith(_FIELD) and "gpu" in sample.labels and "nvlink" not in sample.labels:
            new = _row(sample.labels)
            # With time slicing a device has one line for each pod, all with the same values.
            row = rows.setdefault(new.uuid, new)
            if _is_known(sample.value):
                row.fields.setdefault(sample.name.removeprefix(_FIELD), sample.value)
    if not rows:
        raise SourceError(f"{page.url} is not the page of a DCGM exporter: it shows no {_FIELD}… of a GPU", why)
    return list(rows.values())


def _row(labels: Mapping[str, str]) -> _Row:
    gpu, instance = labels["gpu"], labels.get("GPU_I_ID", "")
    uuid = labels.get("UUID") or labels.get("uuid") or f"{labels.get('Hostname', '')}:gpu{gpu}"
    name = labels.get("modelName", "") or "GPU"
    index = int(gpu) if gpu.isdecimal() else 0
    return _Row(f"MIG-{uuid}/{instance}" if instance else uuid, uuid if instance else "", name, index, {})


def _is_known(value: float) -> bool:
    return 0 <= value < _BLANK_FROM and value not in _BLANKS


def _explain_missing(url: str, field: str) -> str:
    return (
        f"the exporter at {url} shows no {_FIELD}{field}: "
        "the device does not have it, or it is not in the counters file that the exporter was started with (-f)"
    )


def parse_exporter_url(text: str) -> str:
    """The URL of an exporter's page, from ``host``, ``host:9400`` or a URL, with or without ``/metrics``.

    Raises:
        ValueError: it is none of these.
    """
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a DCGM exporter: write host:9400 or http://host:9400/metrics")
    scheme, host, port, path = match.groups(default="")
    return f"{scheme or 'http://'}{host}{port or ('' if scheme else _PORT)}{path.rstrip('/') or '/metrics'}"
