"""Watches the engines of one pytest process: which devices and processes the sampler reads, and what it saw."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.lifecycle import pid_files
from pytest_llmperf.engines.lifecycle.listeners import describe_processes, parse_address
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.system.cuda_environ import DEVICE_ORDER, VISIBLE_DEVICES
from pytest_llmperf.telemetry.analysis.attribution import Baseline
from pytest_llmperf.telemetry.analysis.forwarding import why_forwarder
from pytest_llmperf.telemetry.cpu import cpu_device, engine_devices
from pytest_llmperf.telemetry.device_traces import EngineBaselines, to_device
from pytest_llmperf.telemetry.devices import Devices
from pytest_llmperf.telemetry.sampler.client import Sampler, SamplerError
from pytest_llmperf.telemetry.sources.host import process_tree
from pytest_llmperf.telemetry.watched_page import WatchedPage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.engines.api.spec import EngineSpec
    from pytest_llmperf.measurement.device_trace import DeviceTrace
    from pytest_llmperf.measurement.engine_info import Device
    from pytest_llmperf.measurement.memory_trace import MemoryTrace
    from pytest_llmperf.telemetry.devices import Disturbances
    from pytest_llmperf.telemetry.records.source import DeviceFacts

# How long processes that have been ended may take to give a device back, where their being there fails the tests.
_PATIENCE_S = 10.0
_SETTLE_TIMEOUT_S = 5.0
# How long a forwarder may take to open a connection of its own.
_FORWARDING_SECONDS = 0.05
_CONTACT_SECONDS = 5.0
_SETTLE_TOLERANCE = 1 << 20


class TelemetrySettings(Protocol):
    """The part of the options that telemetry reads."""

    @property
    def disable(self) -> bool:
        """Whether nothing is measured."""

    @property
    def sample_hz(self) -> float:
        """Memory samples per second."""

    @property
    def refuse_busy_gpu(self) -> bool:
        """Whether a GPU on which others compute fails the tests that need an engine; else a warning is shown."""

    @property
    def dcgm(self) -> tuple[str, ...]:
        """The URLs of the DCGM exporters of other hosts."""


class EngineTelemetry:
    """Follows engines as they start and stop, and gives the memory and devices of a window.

    ``address`` is that of a sampler to join; empty to start one when it is first needed.
    """

    def __init__(self, settings: TelemetrySettings, say: Callable[[str], None], address: str = "") -> None:
        self._settings = settings
        self._say = say
        self._address = address
        self._sampler: Sampler | None = None
        self._devices: Devices | None = None
        self._facts: dict[Engine, tuple[DeviceFacts, ...]] = {}
        # The keys of each engine's processes in the sampler; they stay known after the processes have ended.
        self._keys: dict[Engine, tuple[int, ...]] = {}
        # Engines whose processes the driver lists on a device.
        self._listed: set[Engine] = set()
        # Where the driver lists processes, but not the engine's: those that it lists.
        self._on_gpu: dict[Engine, tuple[str, ...]] = {}
        self._quiet: set[int] = set()

    # ---------------------------------------------------------------------------------------- engines come and go

    def before_start(self, engine: Engine) -> Mapping[str, Any]:
        """Checks that the devices are quiet before an engine starts, and returns what is on them.

        The first engine on a device needs it quiet; a later one waits until its memory has settled.

        Raises:
            EngineError: others compute on the devices and ``refuse_busy_gpu`` is set, or the driver does not answer.
        """
        on_cpu = engine.insight.computes_on_gpu is False
        if self._settings.disable or on_cpu or engine.deployment.attached:
            return {}
        try:
            devices = self._open_devices()
            if devices.present and not devices.missing:
                facts, _ = _candidates(devices, engine.spec)
                devices.sample({f.slot: f for f in (*facts, *self._list_sampled())}.values())
                self._wait_for_rest(devices, [f for f in facts if f.slot in self._quiet])
                fresh = [f for f in facts if f.slot not in self._quiet]
                self._check_quiet(devices, fresh, keeps=engine.spec.keep > 0)
                return {str(slot): one.to_plain() for slot, one in devices.baselines(facts).items()}
            return {}
        except SamplerError as error:
            raise EngineError(f"the GPU cannot be watched: {error}") from None

    def on_start(self, engine: Engine) -> tuple[Device, ...]:
        """Samples the engine's processes and the devices that it computes on; returns these.

        Raises:
            EngineError: they cannot be sampled.
        """
        self._keys[engine] = ()
        if self._settings.disable:
            return engine.devices or engine_devices()
        engine.insight.watch_page = self.watch_page
        try:
            for branch in engine.deployment.branches:
                self._keys[engine] += (self._start_sampler().watch(branch.root, branch.file),)
            self._look_for_contacts(engine)
            self._facts[engine], found = self._find_devices(engine)
            if self._devices is not None and self._devices.present and not self._devices.missing:
                self._devices.sample(self._list_sampled())
            return found
        except SamplerError as error:
            raise EngineError(f"the memory of {engine.title} cannot be sampled: {error}") from None

    def watch_page(self, url: str, series: Sequence[str], hz: float) -> WatchedPage:
        """Has the sampler read the ``series`` of a page ``hz`` times a second."""
        with contextlib.suppress(SamplerError):  # the page then says why it is not read
            self._start_sampler()
        assert self._sampler is not None
        return WatchedPage(self._sampler, url, series, hz)

    def on_stop(self, engine: Engine) -> None:
        """Ends the sampling of the engine's processes."""
        self._facts.pop(engine, None)
        # Two engines may be one server.
        others = {key for other in self._facts for key in self._keys[other]}
        if self._sampler is not None and self._sampler.alive:
            for key in self._keys.get(engine, ()):
                if key not in others:
                    self._sampler.stop_watching(key)

    def mend(self, engines: Sequence[Engine]) -> None:
        """Restarts a sampler that has died, and has it watch the engines that still run.

        Raises:
            EngineError: it cannot be started.
        """
        if self._sampler is not None and not self._sampler.alive:
            for engine in engines:
                self.on_start(engine)

    def _list_sampled(self) -> list[DeviceFacts]:
        return list({f.slot: f for facts in self._facts.values() for f in facts}.values())

    def _check_quiet(self, devices: Devices, facts: Sequence[DeviceFacts], *, keeps: bool) -> None:
        if not facts:
            return
        refuse = self._settings.refuse_busy_gpu
        kept = _list_kept_pids()
        # With --llmperf-keep-engine it may be the very engine that this run is going to find.
        expected = kept.keys() if keeps else ()
        quiet = devices.settle(facts, patience_s=_PATIENCE_S if refuse else 0.0, expected=expected)
        problem = _describe(quiet, kept)
        if problem and refuse:
            raise EngineError(
                f"the GPU is busy before the first engine starts: {problem}; stop what runs on it, choose another with "
                "--llmperf-gpus, or accept it with --llmperf-busy-gpu=warn"
            )
        if problem:
            self._say(f"warning: the GPU is busy before the first engine starts: {problem}")
        self._quiet.update(f.slot for f in facts)

    def _wait_for_rest(self, devices: Devices, facts: Sequence[DeviceFacts]) -> None:
        """Waits until the memory of engines that ended on these devices has been released; warns if it has not."""
        for text in devices.rest(facts) if facts else ():
            self._say(f"warning: the memory of {text}, does not settle before the next engine starts")

    def _find_devices(self, engine: Engine) -> tuple[tuple[DeviceFacts, ...], tuple[Device, ...]]:
        """The GPUs that the engine computes on, and all that it computes on: the CPU if there are none."""
        now_ns = time.monotonic_ns()
        is_elsewhere = not engine.pids or bool(self._why_elsewhere(engine, Window(now_ns, now_ns)))
        if not is_elsewhere and engine.devices and all(device.kind == "cpu" for device in engine.devices):
            return (), engine.devices
        if is_elsewhere:
            facts: tuple[DeviceFacts, ...] = ()
            if self._settings.dcgm:
                devices = self._all_devices()
                self._start_sampler()
                devices.open_remote()
                facts = devices.remote
        else:
            facts = self._find_here(engine, self._open_devices())
            if not facts and not engine.insight.computes_on_gpu:
                return (), () if self._open_devices().present and self._open_devices().missing else (cpu_device(),)
        return facts, tuple(map(to_device, facts))

    def _find_here(self, engine: Engine, devices: Devices) -> tuple[DeviceFacts, ...]:
        if devices.missing or not devices.present:
            return ()
        candidates, doubt = _candidates(devices, engine.spec)
        if doubt and engine.deployment.attached:
            self._say(f"warning: {doubt}")
        devices.sample({f.slot: f for f in (*candidates, *self._list_sampled())}.values())
        found = devices.find_engine_devices(self.baselines_of(engine), candidates)
        if found:
            self._listed.add(engine)
        self._on_gpu[engine] = devices.list_strangers(candidates) if found == () else ()
        return candidates if found is None or (found == () and engine.insight.computes_on_gpu) else found

    def baselines_of(self, engine: Engine) -> EngineBaselines:
        """The processes of the engine and the devices' levels before it started; no levels if it ran before."""
        known = {} if engine.startup_time is None else engine.deployment.before
        return EngineBaselines(
            self._keys.get(engine, ()), {int(slot): Baseline.from_plain(one) for slot, one in known.items()}
        )

    # ------------------------------------------------------------------------------------------------- the sampler

    @property
    def sampler(self) -> Sampler | None:
        """The sampler; None until something needs one."""
        return self._sampler

    def share(self) -> str:
        """Starts the sampler for all processes of this run; returns its address, empty if they cannot join it."""
        self._sampler = Sampler()
        try:
            self._sampler.start(self._settings.sample_hz, shared=True)
        except SamplerError:
            return ""  # each worker then starts its own, and reports the error if that fails too
        return self._sampler.address

    def _start_sampler(self) -> Sampler:
        if self._sampler is None:
            self._sampler = Sampler()
            if self._sampler.join(self._address):
                return self._sampler
        self._sampler.start(self._settings.sample_hz)
        return self._sampler

    def _all_devices(self) -> Devices:
        self._devices = self._devices or Devices(self._start_sampler(), self._settings.dcgm)
        return self._devices

    def _open_devices(self) -> Devices:
        devices = self._all_devices()
        self._start_sampler()
        devices.open()
        return devices

    def close(self) -> None:
        """Stops the sampler."""
        if self._sampler is not None:
            self._sampler.stop()
            self._sampler = None

    # ------------------------------------------------------------------------------------------------------ a test

    def begin(self, engines: Sequence[Engine], *, align: bool) -> None:
        """Prepares the start of a test: processes that run now are sampled, however young they are."""
        if self._sampler is not None and self._list_keys(engines):
            self._sampler.survey()
        self.edge(engines, align=align)

    def edge(self, engines: Sequence[Engine], *, align: bool) -> None:
        """Reads what is read only at the edges of a test; with ``align`` it waits for the energy counters to tick."""
        if self._devices is not None and any(self._facts.get(engine) for engine in engines):
            # The traces carry the reason if this fails.
            self._devices.edge(align=align)

    def memory(self, window: Window, engines: Sequence[Engine]) -> tuple[MemoryTrace | None, str]:
        """The host memory of the engines over a window that has ended; None and the reason if it was not seen."""
        for engine in engines:
            if reason := self._why_unseen(engine, window):
                return None, reason
        assert self._sampler is not None
        ended = frozenset(self._list_keys(engine for engine in engines if engine.has_ended_to_unload))
        return self._sampler.read(window, self._list_keys(engines), ended), ""

    def read_thread_times(self, engine: Engine) -> dict[int, tuple[int, int] | None]:
        """What the threads of the engine have run and waited for a core so far, in ns, by the keys of its branches."""
        keys = self._keys.get(engine, ())
        times = self._sampler.read_thread_times(keys) if keys and self._sampler is not None else ()
        return dict(zip(keys, times, strict=True))

    def why_threads_unseen(self, engine: Engine, window: Window) -> str:
        """Why the threads that compute are not seen; "" if they are."""
        return self._why_unseen(engine, window)

    def _why_unseen(self, engine: Engine, window: Window) -> str:
        """Why the processes that hold the engine's model are not seen; "" if they are."""
        if not self._keys.get(engine) or self._sampler is None:
            return f"the processes of {engine.title} cannot be seen from this host"
        return self._why_elsewhere(engine, window)

    def _why_elsewhere(self, engine: Engine, window: Window) -> str:
        """Why the processes that are seen do not hold the engine's model; "" if they may, or none is seen."""
        keys, deployment = self._keys.get(engine, ()), engine.deployment
        if reason := deployment.explain_unseen_model():
            return reason
        if not keys or not deployment.may_forward or engine in self._listed or self._sampler is None:
            return ""
        peak = self._sampler.read(window, keys).peak_bytes
        if peak is None:
            return ""
        # On a device that does not list its processes it may hold anything.
        weights = None if self._facts.get(engine) else deployment.stated_weights
        contacts = [address for key in keys for address in self._sampler.list_contacts(key)]
        return why_forwarder(
            describe_processes(deployment.pids),
            peak,
            weights_bytes=weights,
            contacts=contacts,
            on_gpu=self._on_gpu.get(engine, ()),
        )

    def _look_for_contacts(self, engine: Engine) -> None:
        """Notes whom an attached server is connected to from now on, first of all while a connection is held to it.

        What forwards connections then has one to the engine.
        """
        keys, address = self._keys.get(engine, ()), parse_address(engine.deployment.base_url)
        if not keys or not engine.deployment.may_forward or address is None or self._sampler is None:
            return
        for key in keys:
            self._sampler.list_contacts(key)
        with suppress(OSError), socket.create_connection(address, _CONTACT_SECONDS):
            time.sleep(_FORWARDING_SECONDS)
            self._sampler.survey()

    def devices(self, window: Window, engines: Sequence[Engine]) -> tuple[tuple[DeviceTrace, ...], str]:
        """The devices of the engines over a window that has ended; empty and the reason if there are none."""
        for engine in engines:
            reads_exporters = self._devices is not None and set(self._devices.remote) & set(self._facts.get(engine, ()))
            if not (reads_exporters or engine.info.on_cpu) and (reason := self._why_elsewhere(engine, window)):
                unread = self._devices.remote_missing if self._devices is not None else ""
                return (), unread or f"{reason}; --llmperf-dcgm=URL names the exporter of a GPU of another host"
        facts = {f.slot: f for engine in engines for f in self._facts.get(engine, ())}
        if not facts or self._devices is None or self._sampler is None:
            return (), "" if all(engine.info.on_cpu for engine in engines) else self._why_no_device(engines[0])
        self._sampler.wait(window)
        traces = [self._devices.traces(window, [f], self._baselines_on(f, engines)) for f in facts.values()]
        return tuple(trace for each in traces for trace in each), ""

    def _baselines_on(self, facts: DeviceFacts, engines: Sequence[Engine]) -> list[EngineBaselines]:
        return [self.baselines_of(engine) for engine in engines if facts in self._facts.get(engine, ())]

    def _why_no_device(self, engine: Engine) -> str:
        if not self._keys.get(engine):
            if self._devices is not None and self._devices.remote_missing:
                return self._devices.remote_missing
            where = "give the URL of its DCGM exporter: --llmperf-dcgm=URL"
            return f"the GPU of {engine.title} is not one of this host; {where}"
        return self._devices.missing if self._devices is not None else "the GPU was not watched"

    @property
    def why_exporters_unread(self) -> str:
        """Why the DCGM exporters could not be read when an engine needed them last; empty if none did."""
        return self._devices.remote_missing if self._devices is not None else ""

    @property
    def needs_no_exporters(self) -> bool:
        """Whether there were engines, and none of them on another host, which a DCGM exporter is for."""
        return bool(self._facts or self._keys) and not (self._devices is not None and self._devices.was_remote_opened)

    def _list_keys(self, engines: Iterable[Engine]) -> tuple[int, ...]:
        """The keys of their processes, each once: several models may have one server."""
        return tuple(dict.fromkeys(key for engine in engines for key in self._keys.get(engine, ())))

    def settle_memory(self, engines: Sequence[Engine]) -> tuple[int | None, str]:
        """The host memory of the engines in bytes once it has settled; None and the reason if it does not."""
        assert self._sampler is not None
        keys = self._list_keys(engine for engine in engines if not engine.has_ended_to_unload)
        if not keys:
            return 0, ""
        return self._sampler.settle(keys, _SETTLE_TIMEOUT_S, _SETTLE_TOLERANCE)

    def settle_device(self, uuid: str, engines: Sequence[Engine], limit_bytes: float) -> tuple[int | None, str]:
        """As ``settle_memory``, for the device with this UUID; ``limit_bytes`` is the smallest limit on that level."""
        assert self._devices is not None
        facts = next(f for engine in engines for f in self._facts.get(engine, ()) if f.uuid == uuid)
        return self._devices.wait_until_settled(
            facts, self._baselines_on(facts, engines), _SETTLE_TIMEOUT_S, limit_bytes
        )


def _candidates(devices: Devices, spec: EngineSpec) -> tuple[tuple[DeviceFacts, ...], str]:
    value = os.environ.get(VISIBLE_DEVICES) if spec.visible_devices is None else spec.visible_devices
    return devices.filter_visible(value, os.environ.get(DEVICE_ORDER))


def _list_kept_pids() -> dict[int, str]:
    """The processes of engines that earlier runs kept, by pid, each with the name of its engine."""
    return {
        pid: str(note["name"])
        for note in pid_files.list_kept_notes()
        for pid in process_tree(int(note["engine"]["pid"]))
    }


def _describe(quiet: Disturbances, kept: Mapping[int, str]) -> str:
    parts = []
    for facts, process in quiet.strangers:
        whose = f", of the {kept[process.pid]} that an earlier run has kept," if process.pid in kept else ""
        parts.append(f"{process}{whose} computes on {facts.name}")
    parts += [f"the memory of {text} does not settle" for text in quiet.restless]
    return ", ".join(parts)
