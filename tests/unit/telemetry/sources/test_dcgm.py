from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

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
from pytest_llmperf.telemetry.records.source import SourceError, Why
from pytest_llmperf.telemetry.sources.dcgm import DcgmBackend, parse_exporter_url
from tests.helpers.dcgm_exporter import Exporter, Gpu, full_fields
from tests.helpers.metrics_server import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Backend = Callable[..., DcgmBackend]

MIB = 2**20


@pytest.fixture
def backend() -> Iterator[Backend]:
    """Makes a backend of exporters, each behind a server of its own."""
    with ExitStack() as stack:

        def make(*exporters: Exporter) -> DcgmBackend:
            servers = [stack.enter_context(serving(exporter.page)) for exporter in exporters]
            backend = DcgmBackend([server.url for server in servers])
            stack.callback(backend.close)
            return backend

        yield make


def test_a_gpu_is_listed_with_what_its_labels_say(backend: Backend) -> None:
    (facts,) = backend(Exporter(Gpu(3, full_fields()))).devices()
    assert (facts.uuid, facts.name, facts.index, facts.backend) == (
        "GPU-node-a-3",
        "NVIDIA H100 80GB HBM3",
        3,
        "dcgm",
    )
    assert (facts.slot, facts.parent, facts.has_instances, facts.unified) == (1000, "", False, False)
    assert (facts.total_bytes, facts.no_memory) == ((60000 + 21000 + 559) * MIB, "")
    assert facts.memory_api == "DCGM FB_USED"


def test_the_total_is_taken_from_the_page_where_it_says_it(backend: Backend) -> None:
    (facts,) = backend(Exporter(Gpu(0, {"FB_USED": 10, "FB_TOTAL": 81559}))).devices()
    assert facts.total_bytes == 81559 * MIB


def test_every_value_becomes_a_record_in_our_units(backend: Backend) -> None:
    fields = full_fields() | {
        "POWER_VIOLATION": 7_000_000,
        "THERMAL_VIOLATION": 8_000_000,
        "CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN_NS": 9_000_000,
        "CLOCKS_EVENT_REASONS": 0x24,
    }
    reader = backend(Exporter(Gpu(0, fields)))
    reader.devices()
    assert set(reader.source().read(5)) == {
        RingRecord(5, 21000 * MIB, 1000, 0, DEVICE_MEMORY),
        RingRecord(5, 123_456, 1000, 0, POWER),
        RingRecord(5, 1234567890123, 1000, 0, ENERGY),
        RingRecord(5, 7_000_000, 1000, EventReason.SOFTWARE_POWER_CAP, THROTTLE),
        RingRecord(5, 8_000_000, 1000, EventReason.SOFTWARE_THERMAL, THROTTLE),
        RingRecord(5, 9_000_000, 1000, EventReason.HARDWARE_THERMAL, THROTTLE),
        RingRecord(5, EventReason.SOFTWARE_POWER_CAP | EventReason.SOFTWARE_THERMAL, 1000, 0, REASONS),
        RingRecord(5, 38, 1000, 0, TEMPERATURE),
        RingRecord(5, 45, 1000, 0, MEMORY_TEMPERATURE),
        RingRecord(5, 1980, 1000, 0, SM_CLOCK),
        RingRecord(5, 97, 1000, 0, UTILIZATION),
    }


def values(reader: DcgmBackend, lane: int, t_ns: int = 1) -> list[tuple[int, int]]:
    return [(record.key, record.value) for record in reader.source().read(t_ns) if record.lane == lane]


def test_the_exact_counter_goes_before_the_one_of_the_same_thing(backend: Backend) -> None:
    fields = full_fields() | {
        "POWER_USAGE_INSTANT": 300,
        "POWER_VIOLATION": 1,
        "CLOCKS_EVENT_REASON_SW_POWER_CAP_NS": 2,
    }
    reader = backend(Exporter(Gpu(0, fields)))
    reader.devices()
    assert values(reader, POWER) == [(1000, 300_000)]
    assert values(reader, THROTTLE) == [(1000, 2)]


def test_the_energy_counter_is_flagged_where_it_was_seen_to_move(backend: Backend) -> None:
    exporter = Exporter(Gpu(0, full_fields()))
    reader = backend(exporter)
    reader.devices()
    flags = []
    for energy in (100, 100, 200, 200, 350):
        exporter.gpus[0].fields["TOTAL_ENERGY_CONSUMPTION"] = energy
        flags += [record.flags for record in reader.source().read(1) if record.lane == ENERGY]
    assert flags == [0, 0, TICK, 0, TICK]


@pytest.mark.parametrize(
    "blank", [9223372036854775792, 9223372036854775794, 140737488355328.0, 2147483634, "NaN", "-1", "+Inf"]
)
def test_what_dcgm_shows_for_a_value_it_does_not_have_is_no_value(backend: Backend, blank: float | str) -> None:
    fields = {"FB_USED": 1, "FB_FREE": 1, "POWER_USAGE": blank, "MEMORY_TEMP": blank, "GPU_TEMP": blank}
    reader = backend(Exporter(Gpu(0, fields)))
    reader.devices()
    assert [record.lane for record in reader.source().read(1)] == [DEVICE_MEMORY]


@pytest.mark.parametrize(("field", "lane", "value"), [("FB_USED", DEVICE_MEMORY, 2**43), ("POWER_USAGE", POWER, 2**54)])
def test_a_value_that_would_not_fit_a_record_is_no_value(field: str, lane: int, value: int, backend: Backend) -> None:
    exporter = Exporter(Gpu(0, full_fields()))
    reader = backend(exporter)
    reader.devices()
    assert lane in {record.lane for record in reader.read(1)}
    exporter.gpus[0].fields[field] = value
    exporter.now_ms += 1
    assert lane not in {record.lane for record in reader.read(2)}


def test_memory_without_a_sensor_has_no_temperature_of_zero(backend: Backend) -> None:
    reader = backend(Exporter(Gpu(0, full_fields() | {"MEMORY_TEMP": 0, "GPU_UTIL": 0})))
    reader.devices()
    assert (values(reader, MEMORY_TEMPERATURE), values(reader, UTILIZATION)) == ([], [(1000, 0)])


def test_a_device_that_two_pods_share_is_listed_once(backend: Backend) -> None:
    pods = [Gpu(0, full_fields(), extra={"pod": f"pod-{n}", "namespace": "ml"}) for n in range(2)]
    reader = backend(Exporter(*pods))
    assert len(reader.devices()) == 1
    assert values(reader, DEVICE_MEMORY) == [(1000, 21000 * MIB)]


def test_mig_instances_are_devices_of_their_own_and_know_their_gpu(backend: Backend) -> None:
    whole = Gpu(0, full_fields())
    parts = [Gpu(0, {"FB_USED": used, "FB_FREE": 1000}, instance=number) for used, number in ((10, "1"), (20, "2"))]
    reader = backend(Exporter(whole, *parts))
    listed = {facts.uuid: (facts.parent, facts.has_instances, facts.total_bytes) for facts in reader.devices()}
    assert listed == {
        "GPU-node-a-0": ("", True, 81559 * MIB),
        "MIG-GPU-node-a-0/1": ("GPU-node-a-0", False, 1010 * MIB),
        "MIG-GPU-node-a-0/2": ("GPU-node-a-0", False, 1020 * MIB),
    }
    assert values(reader, DEVICE_MEMORY) == [(1000, 21000 * MIB), (1001, 10 * MIB), (1002, 20 * MIB)]


def test_a_gpu_without_a_uuid_goes_by_its_host_and_number(backend: Backend) -> None:
    gpu = Gpu(1, full_fields(), extra={"UUID": ""})
    (facts,) = backend(Exporter(gpu)).devices()
    assert facts.uuid == "node-a:gpu1"


def test_several_hosts_have_their_slots_in_blocks(backend: Backend) -> None:
    hosts = [Exporter(*(Gpu(n, full_fields(), host=host) for n in range(2))) for host in ("node-a", "node-b")]
    reader = backend(*hosts)
    assert {facts.uuid: facts.slot for facts in reader.devices()} == {
        "GPU-node-a-0": 1000,
        "GPU-node-a-1": 1001,
        "GPU-node-b-0": 2000,
        "GPU-node-b-1": 2001,
    }
    hosts[1].gpus[1].fields["FB_USED"] = 5
    assert values(reader, DEVICE_MEMORY)[-1] == (2001, 5 * MIB)


def test_a_gpu_that_two_exporters_show_is_read_from_the_first(backend: Backend) -> None:
    first, second = (Exporter(Gpu(0, full_fields() | {"FB_USED": used})) for used in (1, 2))
    reader = backend(first, second)
    assert [facts.slot for facts in reader.devices()] == [1000]
    assert values(reader, DEVICE_MEMORY) == [(1000, 1 * MIB)]


# ------------------------------------------------------------------------------------------------------ what is wrong


@pytest.mark.parametrize(
    "page",
    [
        "",
        'vllm:num_requests_running{engine="0"} 1\n',
        'DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL{nvlink="1",gpu="0",Hostname="a"} 1\n',
        'DCGM_FI_DEV_NVSWITCH_POWER_DVDD{nvswitch="1"} 1\n',
    ],
)
def test_a_page_without_a_gpu_is_not_taken_for_an_exporters(page: str) -> None:
    with serving(lambda: page) as server:
        reader = DcgmBackend([server.url])
        with pytest.raises(
            SourceError, match=r"/metrics is not the page of a DCGM exporter: it shows no DCGM"
        ) as caught:
            reader.devices()
        reader.close()
    assert caught.value.why is Why.UNAVAILABLE


def test_a_page_that_is_no_metrics_page_is_said_so() -> None:
    with serving(lambda: "<html>login</html>") as server:
        reader = DcgmBackend([server.url])
        with pytest.raises(SourceError, match=r"^the DCGM exporter cannot be read: .* is not a metrics page: line 1"):
            reader.devices()
        reader.close()


def test_a_dead_exporter_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/metrics"
    with pytest.raises(SourceError, match=f"^the DCGM exporter cannot be read: no server listens at {url}$") as caught:
        DcgmBackend([f"127.0.0.1:{port}"]).devices()
    assert caught.value.why is Why.UNAVAILABLE


def test_an_exporter_that_fails_later_may_come_back(backend: Backend) -> None:
    exporter = Exporter(Gpu(0, full_fields()))
    reader = backend(exporter)
    reader.devices()
    exporter.gpus.clear()
    with pytest.raises(SourceError, match="is not the page of a DCGM exporter") as caught:
        reader.source().read(1)
    assert caught.value.why is Why.TRANSIENT
    exporter.gpus.append(Gpu(0, full_fields()))
    assert values(reader, DEVICE_MEMORY) == [(1000, 21000 * MIB)]


def test_a_device_that_falls_off_the_page_is_lost(backend: Backend) -> None:
    exporter = Exporter(Gpu(0, full_fields()), Gpu(1, full_fields()))
    reader = backend(exporter)
    reader.devices()
    del exporter.gpus[1]
    with pytest.raises(SourceError, match=r"^GPU-node-a-1 is no longer on any page of the DCGM exporters$") as caught:
        reader.source().read(1)
    assert caught.value.why is Why.LOST


@pytest.mark.parametrize("missing", ["FB_USED", "FB_FREE"])
def test_a_counter_that_memory_needs_is_named_where_it_is_missing(backend: Backend, missing: str) -> None:
    fields = full_fields()
    del fields[missing]
    (facts,) = backend(Exporter(Gpu(0, fields))).devices()
    assert facts.total_bytes is None
    assert f"shows no DCGM_FI_DEV_{missing}: the device does not have it, or it is not in the" in facts.no_memory


def test_a_page_with_nothing_that_a_budget_may_ask_for_is_refused(backend: Backend) -> None:
    with pytest.raises(SourceError, match="shows no DCGM_FI_DEV_FB_USED: ") as caught:
        backend(Exporter(Gpu(0, {"GPU_UTIL": 5, "XID_ERRORS": 0}))).devices()
    assert caught.value.why is Why.UNAVAILABLE


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("node-a", "http://node-a:9400/metrics"),
        ("node-a:9401", "http://node-a:9401/metrics"),
        ("[::1]:9400", "http://[::1]:9400/metrics"),
        ("node-a:9400/metrics", "http://node-a:9400/metrics"),
        ("http://node-a:9400", "http://node-a:9400/metrics"),
        ("http://node-a:9400/", "http://node-a:9400/metrics"),
        ("https://node-a/dcgm/metrics?x=1", "https://node-a/dcgm/metrics?x=1"),
    ],
)
def test_an_exporter_is_given_by_host_or_url(text: str, url: str) -> None:
    assert parse_exporter_url(text) == url


@pytest.mark.parametrize("text", ["", "http://", "ftp://node-a", "node a:9400", "node-a:port", "me:secret@node-a:9400"])
def test_what_is_no_exporter_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a DCGM exporter: write host:9400 or http://host:9400/metrics$"):
        parse_exporter_url(text)
    with pytest.raises(SourceError, match="is not a DCGM exporter"):
        DcgmBackend([text])
