"""The ladder of fixtures; each step may be overridden by the project."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import pytest

from pytest_llmperf.plugin.preflight.engine_overrides import find_overrides
from pytest_llmperf.plugin.session import MEASURED_RUN, NO_ENGINE, SESSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from os import PathLike

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.reading import Reading
    from pytest_llmperf.plugin.measuring.measured_run import MeasuredRun, MeasuredWindow
    from pytest_llmperf.plugin.preflight.engine_overrides import EngineChoice
    from pytest_llmperf.plugin.session import Session
    from pytest_llmperf.traffic.client.listener import ClientListener
    from pytest_llmperf.traffic.llm_client import LLMClient


@pytest.fixture(scope="session")
def llm_engine_args() -> dict[str, Any]:
    """A dict of engine settings. Override it in your ``conftest.py`` to return, say, ``{"ctx_size": 4096}``.

    ``{"llamacpp:ctx_size": 4096}`` is for one engine only, which is given by its name or label.
    ``--llmperf-engine-arg`` beats it. Overridden again in a folder, module or class, it gives the tests there an engine
    of their own, unless the settings are the same.
    """
    return {}


@pytest.fixture(scope="session")
def llm_engine(request: pytest.FixtureRequest, llm_engine_args: Mapping[str, Any]) -> Iterator[Engine]:
    """The running engine of ``--llm-engine``, started once per session.

    It has ``name``, ``version``, ``model``, ``base_url``, ``api_key``, ``pids``, ``devices``, ``startup_time``,
    ``warmup_time``, ``memory()``, ``restart()``, ``unload()``, ``wait_until_unloaded(seconds)``, ``sleep(level)`` and
    ``wake()``.
    """
    session = request.config.stash[SESSION]
    choice: EngineChoice | None = getattr(request, "param", None)
    spec = choice.spec if choice is not None else next(iter(session.settings.engines), None)
    if spec is None:
        from pytest_llmperf.plugin.outcomes import NoEngine

        raise NoEngine(NO_ENGINE)
    engine = session.acquire_with(spec, llm_engine_args, find_overrides(request._pyfuncitem))
    yield engine
    session.retire(engine)


@pytest.fixture(scope="session")
def llm_engine_factory(request: pytest.FixtureRequest) -> LLMEngineFactory:
    """Starts further engines: ``llm_engine_factory("llamacpp", model="x.gguf", args={"ctx_size": 4096})``.

    They run until the session ends. A second call with the same arguments gives the same engine.
    """
    return LLMEngineFactory(request.config.stash[SESSION])


class LLMEngineFactory:
    """Starts engines by name and returns them; ``llm_engine_factory`` is one."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(
        self,
        engine: str,
        *,
        model: str | None = None,
        url: str | None = None,
        args: Mapping[str, Any] | None = None,
        program: str | PathLike[str] | None = None,
    ) -> Engine:
        """Returns the running engine with these settings, and starts it if there is none yet.

        The options that say how engines are started (``--llmperf-engine-bin``, ``--llmperf-startup-timeout``,
        ``--llmperf-gpus``) hold for it; ``--llmperf-engine-arg`` and ``llm_engine_args`` do not.

        Args:
            engine: its name, as in ``--llm-engine``.
            model: the model in the engine's own words; None for the engine's default.
            url: the address of a server to attach to; None to start one.
            args: the engine's settings. Dicts and lists are passed on as JSON.
            program: what to run, as in ``--llmperf-engine-bin``; None for what that option says, or the default.

        Raises:
            EngineUnavailable: unknown engine, settings it cannot work with, or a failed start.
        """
        from pytest_llmperf.plugin.engine_options.specs import write_argument

        texts = {key: write_argument(value) for key, value in (args or {}).items()}
        path = os.fspath(program) if program is not None else None
        found = self._session.acquire(self._session.settings.further_spec(engine, model, url, texts, path))
        if self._session.measured is not None:
            self._session.measured.name([found])
        return found

    @property
    def engines(self) -> tuple[Engine, ...]:
        """The engines that run in this session."""
        return self._session.provisioner.running


@pytest.fixture(scope="session")
def llm_base_url(request: pytest.FixtureRequest, llm_engine: Engine) -> str:
    """The address of ``llm_client.base_url``, for an app that is started once for all tests.

    It stays the same when the engine is restarted.
    """
    session = request.config.stash[SESSION]
    return session.app_url(session.acquire(llm_engine.spec))


@pytest.fixture
def llm_client(request: pytest.FixtureRequest, llm_engine: Engine) -> Iterator[LLMClient]:
    """Sends requests to the engine and times them for this test.

    It has ``generate``, ``chat``, ``embed``, ``rerank``, their coroutines ``agenerate`` and so on, ``run``,
    ``capacity`` and ``sweep``. ``base_url``, ``api_key`` and ``model`` are for an app under test, whose own calls are
    timed as well. ``expect_cancelled()`` and ``cancel()`` are for tests of a stop button.
    """
    session = request.config.stash[SESSION]
    session.refuse_late_request(llm_engine, request.node)
    factory = _make_factory(session, request.node)
    try:
        yield factory(llm_engine)
    finally:
        factory.close()


@pytest.fixture
def llm_client_factory(request: pytest.FixtureRequest) -> Iterator[LLMClientFactory]:
    """Makes clients for further engines: ``llm_client_factory(engine)``.

    Their requests belong to the test as well.
    """
    factory = _make_factory(request.config.stash[SESSION], request.node)
    yield factory
    factory.close()


def _skip_unmeasured(*_: object) -> NoReturn:
    pytest.skip("nothing is measured under --llmperf-disable")


def _make_factory(session: Session, item: pytest.Item) -> LLMClientFactory:
    from pytest_llmperf.plugin.pairing.sides import CLIENT_FACTORIES

    factory = LLMClientFactory(session, item.stash.get(MEASURED_RUN, None))
    item.stash.setdefault(CLIENT_FACTORIES, []).append(factory)
    return factory


class LLMClientFactory:
    """Makes clients whose requests belong to the running test; ``llm_client_factory`` is one."""

    def __init__(self, session: Session, measured: MeasuredRun | None) -> None:
        self._session = session
        self._measured = measured
        self._clients: dict[LLMClient, Engine] = {}
        # Those that a comparison has led to another engine for now.
        self._led: dict[LLMClient, Engine] = {}
        session.followers.add(self)

    def __call__(self, engine: Engine) -> LLMClient:
        """Returns a new client for this engine, the same in all as ``llm_client``. It is closed with the test.

        An engine that has ended is started again first.

        Raises:
            EngineUnavailable: the engine cannot be started again.
        """
        from pytest_llmperf.traffic.llm_client import LLMClient

        engine = self._session.acquire(engine.spec)
        client = LLMClient(
            engine.endpoint,
            engine.dialect,
            timeout=self._session.settings.request_timeout,
            listener=self._listener(engine),
            app_url=lambda: self._session.app_url(engine),
        )
        self._clients[client] = engine
        return client

    def clients_of(self, engine: Engine) -> list[LLMClient]:
        """The clients that it made for an engine so far."""
        return [client for client, asked in self._clients.items() if asked is engine]

    def retarget(self, clients: Iterable[LLMClient], engine: Engine) -> None:
        """Has clients ask another engine from now on."""
        for client in clients:
            self._led[client] = engine
            client.retarget(engine.endpoint, engine.dialect, self._listener(engine))

    def follow(self, engine: Engine) -> None:
        """Has its clients ask a restarted engine where it listens now."""
        self.retarget([client for client, own in self._clients.items() if self._led.get(client, own) is engine], engine)

    def _listener(self, engine: Engine) -> ClientListener:
        from pytest_llmperf.plugin.cancelling.expectation import NothingExpected
        from pytest_llmperf.traffic.client.listener import ClientListener, NoGrowth

        terminal = self._session.terminal
        if self._measured is None:
            return ClientListener(
                show=terminal.show,
                say=terminal.say,
                begin_growth=NoGrowth,
                expect_cancelled=lambda _: NothingExpected(),
                begin_capacity=_skip_unmeasured,
                begin_sweep=_skip_unmeasured,
            )
        self._measured.use(engine)
        return ClientListener(
            show=terminal.show,
            say=terminal.say,
            begin=partial(self._measured.begin, engine),
            begin_load=partial(self._measured.begin_load, engine),
            begin_growth=partial(self._measured.begin_growth, engine),
            expect_cancelled=partial(self._measured.expect_cancelled, engine),
            begin_step=partial(self._measured.begin_step, engine),
            begin_capacity=partial(self._measured.begin_capacity, engine),
            begin_sweep=partial(self._measured.begin_sweep, engine),
        )

    def close(self) -> None:
        """Closes the connections of all its clients, which follow no restart any more."""
        self._session.followers.discard(self)
        for client in self._clients:
            client.close()


@pytest.fixture
def vllm_llm(request: pytest.FixtureRequest, llm_engine: Engine) -> Iterator[Any]:
    """The ``vllm.LLM`` itself, with ``--llm-engine=vllm --llmperf-engine-arg=mode=offline``.

    Its requests count as the test's. On every other engine the test is skipped.
    """
    from pytest_llmperf.engines.vllm.offline.deployment import InProcessVLLM

    engine = request.config.stash[SESSION].acquire(llm_engine.spec)
    vllm = engine.deployment
    if not isinstance(vllm, InProcessVLLM):
        pytest.skip(f"vllm_llm needs --llm-engine=vllm --llmperf-engine-arg=mode=offline; this run uses {engine.name}")
    measured = request.node.stash.get(MEASURED_RUN, None)
    with vllm.steps.recorded(partial(measured.begin, engine) if measured is not None else None):
        yield vllm.llm


@pytest.fixture
def llm_perf(request: pytest.FixtureRequest) -> LLMPerf:
    """The measurement of this test: ``window(name)``, ``record(name, value, unit)``, ``read(metric)``.

    ``quality(name, value)`` records a value of quality, which a budget may limit. ``measurement`` is everything that
    was measured so far.
    """
    return LLMPerf(request.node.stash.get(MEASURED_RUN, None))


class LLMPerf:
    """Reads the measurement of the running test, and adds to it.

    Under ``--llmperf-disable`` nothing is measured, and every use of it skips the test.
    """

    def __init__(self, measured: MeasuredRun | None) -> None:
        self._measured_or_none = measured

    @property
    def _measured(self) -> MeasuredRun:
        if self._measured_or_none is None:
            pytest.skip("nothing is measured under --llmperf-disable")
        return self._measured_or_none

    def window(self, name: str) -> AbstractContextManager[MeasuredWindow]:
        """Measures a part: ``with llm_perf.window("prefill") as w: ...``, then ``w.read("memory.peak")``."""
        return self._measured.window(name)

    def leave_out(self, *, warmup: int | str = 0, cooldown: int | str = 0) -> None:
        """Leaves out both ends of a load that an app sends from now on: ``leave_out(warmup=17)``.

        It is for load tools, which begin with requests of their own that they do not count. What is left out is
        measured and not judged, as the ``warmup`` of ``llm_client.run``. Memory and energy count all the same.

        Args:
            warmup: the first requests, or the first time from the first request on, such as ``"5 s"``.
            cooldown: the last requests, or the last time before the last request was sent.

        Raises:
            ValueError: an argument is neither a number of requests nor a time, or the test has not begun.
        """
        self._measured.leave_out(warmup, cooldown)

    def record(self, name: str, value: float, unit: str) -> None:
        """Adds a number of the test's own to the reports, which show it with ``unit`` as it is. It is not judged."""
        self._measured.record(name, value, unit)

    def ignore_path(self, path: str) -> None:
        """Says that calls of the app to a path that is not read are no matter for this test's latency and throughput.

        They are counted in the evidence as before. ``path`` is its end, such as ``"/v1/audio/speech"``; ``*`` stands
        for a part of it, or for some of its characters. In a fixture with ``autouse=True`` it holds for many tests.

        Raises:
            ValueError: it does not begin with ``/``, names no path, or is one whose calls are measured.
        """
        self._measured.ignore_path(path)

    def quality(
        self, name: str, value: float, *, better: Literal["higher", "lower"] = "higher", samples: int | None = None
    ) -> None:
        """Records a value of the answers' quality, such as ``quality("accuracy", 0.83)``: ``quality.accuracy``.

        ``@quality_budget(accuracy="0.8")`` limits it. Each round of a test may record it once; their mean is judged.

        Args:
            name: of lower-case letters, digits and ``_``.
            value: from 0 to 1.
            better: which direction is better.
            samples: of how many independent answers it is the share: the verdict then has an interval.

        Raises:
            ValueError: an argument is not what it should be, the round has recorded this name already, or the test has
                not begun or is over, so that a fixture would record it.
        """
        self._measured.record_score(name, value, better, samples)

    def read(self, name: str, engine: str | None = None, *, adapter: str | None = None) -> Reading:
        """A metric of the test so far, such as ``llm_perf.read("memory.peak").value``.

        The value is in the base unit of the metric: bytes, seconds, tokens or requests per second, joules, watts, or a
        share of 1. It is None if the metric was not measured; ``reason`` says why.

        Args:
            name: the metric as it is limited, with its percentile: ``memory.peak``, ``latency.ttft_p95``.
            engine: which engine of a test with several, by label, by name, by ``name:model`` or by a glob; None for all
                of them together.
            adapter: the LoRA adapter whose requests count alone, "" for the model itself; None for all requests.

        Raises:
            ValueError: there is no such metric, or ``engine`` does not name exactly one engine of the test.
        """
        from pytest_llmperf.metrics.table import read

        measurement = self.measurement
        measurement = measurement if engine is None else measurement.select_engine(engine)
        return read(name, measurement if adapter is None else measurement.select_adapter(adapter))

    @property
    def measurement(self) -> Measurement:
        """What was measured up to now; once the test's body has ended, all of it."""
        return self._measured.snapshot()
