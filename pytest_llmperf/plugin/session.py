"""The state of one pytest process: its settings, engines, sampler, and the results that reach it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import pytest

from pytest_llmperf.engines.registry import BUILT_IN
from pytest_llmperf.plugin import worker
from pytest_llmperf.plugin.preflight.budget_reader import ENGINES, LIMITS, MARKED, MISTAKE, WARM_CACHE, BudgetReader
from pytest_llmperf.plugin.preflight.findings import Findings
from pytest_llmperf.plugin.terminal import Terminal
from pytest_llmperf.plugin.timeout import TimeoutClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
    from pytest_llmperf.engines.provision import Provisioner
    from pytest_llmperf.engines.registry import EngineRegistry
    from pytest_llmperf.measurement.engine_info import Device
    from pytest_llmperf.plugin.baselines.stored_past import PastRuns
    from pytest_llmperf.plugin.measuring.app_relays import AppRelays
    from pytest_llmperf.plugin.measuring.engine_telemetry import EngineTelemetry
    from pytest_llmperf.plugin.measuring.engine_warmup import EngineWarmups
    from pytest_llmperf.plugin.measuring.forked_calls import ForkedCalls
    from pytest_llmperf.plugin.measuring.left_overs import LeftOvers
    from pytest_llmperf.plugin.measuring.measured_run import MeasuredRun, Rules
    from pytest_llmperf.plugin.measuring.prompt_caches import PromptCaches
    from pytest_llmperf.plugin.outcomes import EngineUnavailable
    from pytest_llmperf.plugin.pairing.engine_pair import EnginePair
    from pytest_llmperf.plugin.pairing.sides import FollowsEngines
    from pytest_llmperf.plugin.preflight.engine_overrides import EngineChoice, Overrides
    from pytest_llmperf.plugin.quality.probes import QualityProbes
    from pytest_llmperf.plugin.settings import Settings
    from pytest_llmperf.reports.result import TestResult
    from pytest_llmperf.telemetry.sampler.client import Sampler

SESSION: pytest.StashKey[Session] = pytest.StashKey()
MEASURED_RUN: pytest.StashKey[MeasuredRun] = pytest.StashKey()
RESULT: pytest.StashKey[TestResult] = pytest.StashKey()
LOGS: pytest.StashKey[list[tuple[str, str]]] = pytest.StashKey()
ATTEMPTS: pytest.StashKey[int] = pytest.StashKey()
# Why a test cannot be measured in turn with those of other workers.
LOST_RUN: pytest.StashKey[str] = pytest.StashKey()
MEASURED_FIXTURES = frozenset(
    {
        "llm_engine",
        "llm_engine_factory",
        "llm_base_url",
        "llm_client",
        "llm_client_factory",
        "llm_perf",
        "vllm_llm",
    }
)
NO_ENGINE = f"no engine: run pytest with --llm-engine=NAME ({', '.join(BUILT_IN)}, or one of another package)"


def format_log(tail: str, path: str) -> str:
    """The last lines of an engine's log, and where all of it is kept; empty if it has none."""
    return f"{tail}\n(the whole log: {path})" if tail and path else tail


class Session:
    """One per pytest process, on ``config.stash[SESSION]``. Engines and sampler start when a test first needs them."""

    def __init__(self, config: pytest.Config, settings: Settings, registry: EngineRegistry) -> None:
        self.config = config
        self.settings = settings
        self.registry = registry
        self._telemetry: EngineTelemetry | None = None
        self._provisioner: Provisioner | None = None
        self.measured: MeasuredRun | None = None
        self._relays: AppRelays | None = None
        self.followers: WeakSet[FollowsEngines] = WeakSet()
        self._left_overs: LeftOvers | None = None
        self._forked_calls: ForkedCalls | None = None
        self._prompt_caches: PromptCaches | None = None
        self._warmups: EngineWarmups | None = None
        self._past_runs: PastRuns | None = None
        self._quality: QualityProbes | None = None
        self._is_providing = False
        self.calls_outside: int | None = None
        self._kept_logs: set[str] = set()
        self._overrides: set[Overrides] = set()
        self._engine_args: dict[Engine, Mapping[str, Any]] = {}
        self._engine_overrides: dict[Engine, set[Overrides]] = {}
        self.pair: EnginePair | None = None
        self.clock = TimeoutClock(config)
        self.terminal = Terminal(config)
        self.findings = Findings()
        self.budgets = BudgetReader(config, registry, settings.labels, self.findings, strict=settings.strict)

    # ------------------------------------------------------------------------------------------- options and budgets

    def note_keys(self) -> None:
        """Notes the keys that the command line and the environment give, so that no output shows them."""
        if not self.settings.engines:
            return
        from pytest_llmperf.system.known_keys import note_key
        from pytest_llmperf.system.masking import is_secret

        note_key(os.environ.get("OPENAI_API_KEY", ""))
        for spec in self.settings.engines:
            for name, value in spec.args.items():
                if is_secret(name):
                    note_key(value)

    def check_options(self) -> None:
        """Refuses options that can have no effect, in the process whose command line they were given on.

        Raises:
            pytest.UsageError: one line that names the option and what it needs.
        """
        if not worker.is_worker(self.config) and not self.config.getoption("help"):
            from pytest_llmperf.plugin.options import OPTIONS
            from pytest_llmperf.plugin.preflight.unused_options import check_options

            known = [option.name for option in OPTIONS]
            distributed = worker.is_controller_of_workers(self.config)
            check_options(
                self.config,
                self.settings,
                self.registry,
                self.findings,
                known=known,
                distributed=distributed,
                has_page_metrics=bool(self.budgets.page_metrics),
            )

    def check_used_options(self, *, judged: bool, sequential: bool) -> None:
        """Finds options that had no effect in a run that is over.

        ``judged`` is whether it had budgets, ``sequential`` whether a test went on until they were decided.
        """
        if self.settings.disable:
            return
        from pytest_llmperf.plugin.preflight.unused_options import find_unrepeated, find_unspent

        found = [] if judged else list(find_unrepeated(self.config))
        if not sequential and self.settings.rounds is not None:
            found += find_unspent(self.config)
        for text in found:
            self.findings.add(text, error=False)

    def refuse_late_markers(self, item: pytest.Item) -> None:
        """Fails a test that was given a budget while it was set up or ran: budgets are read at collection."""
        from pytest_llmperf.plugin.markers import marks

        if item.stash.get(MARKED, None) not in (None, marks.count_budget_markers(item)):
            from pytest_llmperf.plugin.outcomes import InvalidBudget

            raise InvalidBudget(
                f"{item.name}: a fixture, or the test itself, added a budget marker; budgets are read when tests are "
                "collected: add it in pytest_collection_modifyitems, or write it on the test"
            )

    def refuse_mistakes(self, item: pytest.Item) -> None:
        """Fails a test whose markers cannot be understood, before any engine is started for it."""
        if MARKED not in item.stash:
            self.budgets.prepare(item)  # another plugin made it after the collection
        if MISTAKE in item.stash:
            from pytest_llmperf.plugin.outcomes import InvalidBudget

            raise InvalidBudget(item.stash[MISTAKE])
        if LOST_RUN in item.stash:
            from pytest_llmperf.plugin.outcomes import EngineUnavailable

            raise EngineUnavailable(item.stash[LOST_RUN])

    def why_nothing_is_judged(self, without_engine: int) -> str:
        """Why a run judged none of its budgets, and what to do; empty if the person who started it asked for that.

        ``without_engine`` is the number of tests that were skipped for want of an engine.
        """
        if self.settings.disable:
            if "--llmperf-disable" in self.config.invocation_params.args:
                return ""
            return "llmperf_disable is set in the ini file, or --llmperf-disable in addopts: remove it there"
        if without_engine:
            return "no engine was given: run them with --llm-engine=NAME, or deselect them"
        return "all of them were skipped, or ended before their budgets were judged"

    # --------------------------------------------------------------------------------------------------- engines

    def skip_other_engines(self, item: pytest.Item) -> None:
        """Skips a test that needs an engine if there is none, or if ``llm_engines`` excludes it."""
        allowed = item.stash.get(ENGINES, None)
        uses_engine = "llm_engine" in getattr(item, "fixturenames", ())
        spec = self.spec_of(item)
        if spec is None and uses_engine:
            from pytest_llmperf.plugin.outcomes import NoEngine

            raise NoEngine(NO_ENGINE)
        if allowed is not None and spec is not None and not set(allowed).intersection(spec.names):
            pytest.skip(f"runs on {', '.join(allowed)} only, not on {spec.label}")

    def spec_of(self, item: pytest.Item) -> EngineSpec | None:
        """The engine a test runs on: its parameter when there are several, else the only one."""
        callspec = getattr(item, "callspec", None)
        if callspec is not None and "llm_engine" in callspec.params:
            choice: EngineChoice = callspec.params["llm_engine"]
            return choice.spec
        return self.settings.engines[0] if self.settings.engines else None

    def complete(self, spec: EngineSpec, project_args: Mapping[str, Any]) -> EngineSpec:
        """The spec with the settings of the project's ``llm_engine_args`` below those of the command line."""
        from pytest_llmperf.plugin.engine_options.specs import choose_arguments, write_argument

        texts = [f"{key}={write_argument(value)}" for key, value in project_args.items()]
        return replace(spec, args={**choose_arguments(texts, spec.engine, spec.variant), **spec.args})

    def note_overrides(self, overrides: Overrides | None) -> None:
        """Notes which settings of the engine a test has overridden; None for a test that does not use the engine."""
        if overrides is not None:
            self._overrides.add(overrides)

    @property
    def has_several_engines(self) -> bool:
        """Whether the tests need ``llm_engine`` to be several engines, one after the other."""
        return len(self.settings.suite_engines) > 1 or len(self._overrides) > 1

    def acquire_with(self, spec: EngineSpec, project_args: Mapping[str, Any], overrides: Overrides) -> Engine:
        """The running engine of ``llm_engine``; notes with which settings of the project it runs, and whose they are.

        Raises:
            EngineUnavailable: as ``acquire``.
        """
        engine = self.acquire(self.complete(spec, project_args))
        self._engine_args[engine] = project_args
        self._engine_overrides.setdefault(engine, set()).add(overrides)
        return engine

    def refuse_late_request(self, engine: Engine, item: pytest.Item) -> None:
        """Fails a test that asks for ``llm_engine`` while it runs, and would get one that is meant for others.

        pytest cannot know of such a test that it runs on several engines, or needs an engine of its own.

        Raises:
            EngineUnavailable: the run has several engines, or this one was started for tests of which another place
                overrides the settings.
        """
        known = self._engine_overrides.get(engine)
        if known is None or "llm_engine" in getattr(item, "fixturenames", ()):
            return
        from pytest_llmperf.plugin.preflight.engine_overrides import describe_overrides, find_overrides

        own, why = find_overrides(item), ""
        if len(self.settings.suite_engines) > 1:
            why = "this test would run on one of the several engines only"
        elif own not in known:
            why = f"llm_engine runs with {describe_overrides(min(known))}, and this test has {describe_overrides(own)}"
        if why:
            from pytest_llmperf.plugin.outcomes import EngineUnavailable

            raise EngineUnavailable(
                f"{why}, because it uses the engine by request.getfixturevalue alone: name llm_client or llm_engine "
                "among its arguments"
            )

    def refuse_other_args(self, engine: Engine, values: Mapping[str, Any]) -> None:
        """Fails a test that would run on an engine with the ``llm_engine_args`` of other tests.

        Raises:
            EngineUnavailable: the fixtures of the test, ``values``, hold other settings than the engine has.
        """
        given, own = self._engine_args.get(engine), values.get("llm_engine_args")
        if given is not None and own is not None and dict(given) != dict(own):
            from pytest_llmperf.plugin.outcomes import EngineUnavailable

            raise EngineUnavailable(
                f"llm_engine runs with llm_engine_args={dict(given)!r} of other tests, and this test has "
                f"{dict(own)!r}: give both places one llm_engine_args, or override llm_engine beside it"
            )

    @property
    def provisioner(self) -> Provisioner:
        """Starts and finds engines; made when first needed."""
        if self._provisioner is None:
            from pytest_llmperf.engines.provision import Provisioner

            self._provisioner = Provisioner(self.registry, self._say_of_engine, self)
        return self._provisioner

    def _say_of_engine(self, text: str) -> None:
        """Says what an engine is doing; in a line that is replaced, where two take turns and start again and again."""
        is_swapped = self.pair is not None and self.pair.swaps
        (self.terminal.show if is_swapped else self.terminal.say)(text)

    @property
    def telemetry(self) -> EngineTelemetry:
        """Samples the memory and devices of the engines; made when first needed."""
        if self._telemetry is None:
            from pytest_llmperf.plugin.measuring.engine_telemetry import EngineTelemetry

            self._telemetry = EngineTelemetry(self.settings, self.terminal.say, worker.sampler_address(self.config))
        return self._telemetry

    @property
    def sampler(self) -> Sampler | None:
        """The running sampler; None until the first engine starts."""
        return self.telemetry.sampler

    def before_start(self, engine: Engine) -> Mapping[str, Any]:
        """Checks that the devices are quiet before an engine starts, and returns what is on them."""
        return self.telemetry.before_start(engine)

    def on_start(self, engine: Engine) -> tuple[Device, ...]:
        """Samples an engine that has started, points relay and clients to it, and returns the devices that it uses."""
        devices = self.telemetry.on_start(engine)
        if not self._is_providing:
            self.warmups.note_start(engine)
        self.prompt_caches.forget(engine)
        if self._relays is not None:
            self._relays.follow(engine)
        for follower in list(self.followers):
            follower.follow(engine)
        return devices

    def on_stop(self, engine: Engine) -> None:
        """Stops sampling an engine."""
        self.telemetry.on_stop(engine)

    def before_unload(self, engine: Engine) -> None:
        """Notes the memory of the engines of a measured test while they are loaded, before one of them unloads."""
        if self.measured is not None:
            self.measured.note_before_unload()

    def on_unload(self, engine: Engine) -> None:
        """Notes the memory that is left of an engine that a measured test has unloaded or put to sleep."""
        if self.measured is not None:
            self.measured.note_unloaded(engine)

    def acquire(self, spec: EngineSpec) -> Engine:
        """The running engine.

        Raises:
            EngineUnavailable: with the reason in one line and the engine's log in a section.
        """
        with self._providing(spec):
            if self.pair is not None:
                self.pair.make_room(spec)
            return self.provisioner.acquire(spec)

    @contextmanager
    def _providing(self, spec: EngineSpec) -> Iterator[None]:
        """Starts engines for a test that did not ask to start one itself; a timeout of the test does not run meanwhile.

        Raises:
            EngineUnavailable: for the error of an engine.
        """
        from pytest_llmperf.engines.api.spec import EngineError

        self._is_providing = True
        try:
            with self.clock.paused():
                yield
        except EngineError as error:
            raise _make_unavailable(spec.label, error) from None
        finally:
            self._is_providing = False

    def why_not_comparable(self, item: pytest.Item, engine: object) -> str:
        """Why the engine of a test has no other one to be compared with, in one sentence; empty if it has one."""
        old = self.settings.engines[1]
        allowed = item.stash.get(ENGINES, None)
        if engine not in self._engine_args:
            return "llm_engine is not the engine of --llm-engine: the project overrides it"
        if allowed is not None and not set(allowed).intersection(old.names):
            return f"it runs on {', '.join(allowed)} only, not on {old.label}"
        return ""

    def load_pair(self, new: Engine, tests: int) -> EnginePair:
        """The engine of a test and the one that it is compared with, which gets the same ``llm_engine_args``.

        Says what the comparison of so many ``tests`` costs when both have been loaded.

        Raises:
            EngineUnavailable: they cannot be started, or cannot take turns.
        """
        from pytest_llmperf.plugin.pairing.engine_pair import EnginePair

        old = self.complete(self.settings.engines[1], self._engine_args[new])
        if self.pair is None or (self.pair.new.key, self.pair.old.key) != (new.spec.key, old.key):
            self.pair = EnginePair(new.spec, old, self.provisioner, self.terminal.say, is_shared=bool(old.run))
        with self._providing(old):
            if self.pair.load():
                self.terminal.say(self.pair.describe_cost(tests))
        return self.pair

    def retire(self, engine: Engine) -> None:
        """Lets an engine of several end when another one starts, and with it the one that it is compared with."""
        if self.has_several_engines:
            self.provisioner.retire(engine.spec)
            if self.pair is not None and self.pair.new.key == engine.spec.key:
                self.provisioner.retire(self.pair.old)
                self.pair = None

    @property
    def warmups(self) -> EngineWarmups:
        """Warms up engines before their first measured test; made when first needed."""
        if self._warmups is None:
            from pytest_llmperf.plugin.measuring.engine_warmup import EngineWarmups

            is_on = self.settings.engine_warmup and not self.settings.disable
            self._warmups = EngineWarmups(self._say_of_engine, self._warn, is_on=is_on)
        return self._warmups

    def _warn(self, text: str) -> None:
        self.findings.add(text, error=False)

    @property
    def prompt_caches(self) -> PromptCaches:
        """What the engines may hold of earlier prompts; made when first needed."""
        if self._prompt_caches is None:
            from pytest_llmperf.plugin.measuring.prompt_caches import PromptCaches

            self._prompt_caches = PromptCaches(worker.run_folder(self.config))
        return self._prompt_caches

    @property
    def quality(self) -> QualityProbes:
        """Compares engines with the references of quality budgets; made when first needed."""
        if self._quality is None:
            from pytest_llmperf.plugin.quality.probes import ProbeMeans, QualityProbes

            settings = self.settings
            writes = settings.baselines.reference
            means = ProbeMeans(
                self._ready,
                self._find_reference_spec,
                lambda measurement, text: self.past_runs.find_next_tokens(measurement, text),
                self.terminal.show,
                self.config.inipath.parent if self.config.inipath else self.config.rootpath,
                settings.engines[1].label if settings.against else "",
                keeps=bool(settings.baselines.save) or writes is not None,
                writes=writes,
            )
            self._quality = QualityProbes(means)
        return self._quality

    @contextmanager
    def _ready(self, spec: EngineSpec) -> Iterator[Engine]:
        """An engine, ready while a quality budget asks it; one that is started for that alone ends after it.

        Raises:
            EngineError: it cannot be started.
        """
        from pytest_llmperf.plugin.outcomes import EngineUnavailable

        was_running = self.provisioner.find_running(spec) is not None
        try:
            engine = self.acquire(spec)
        except EngineUnavailable as error:
            raise _make_engine_error(str(error)) from None
        try:
            with self.clock.paused():
                yield engine
        finally:
            if not was_running and self.pair is None:
                self.provisioner.end(spec)

    def _find_reference_spec(self, label: str, beside: Engine) -> EngineSpec | None:
        found = next((spec for spec in self.settings.engines if label in spec.names), None)
        if found is None:
            return None
        spec = self.complete(found, self._engine_args.get(beside, {}))
        return beside.spec if beside.spec.label == spec.label else spec

    @property
    def relays(self) -> AppRelays:
        """The relays of the engines; made when first needed."""
        if self._relays is None:
            from pytest_llmperf.plugin.measuring.app_relays import AppRelays

            self._relays = AppRelays(self.settings.relay_host)
        return self._relays

    def take_note_of_engines(self, measured: MeasuredRun) -> list[tuple[str, str]]:
        """Takes note of the engines that have ended in a test, and of those that live; keeps the logs of the former.

        Returns the last lines of these logs as (title, text) sections of the test's report.
        """
        for engine in measured.survivors:
            self.provisioner.note_survival(engine)
        sections = []
        for engine, reason in measured.ended:
            self.provisioner.note_death(engine, reason)
            text = format_log(engine.deployment.log_tail(), self._keep_log(engine))
            sections.append((f"log of {engine.title}, its last lines", text))
        return [(title, text) for title, text in sections if text]

    def _keep_log(self, engine: Engine) -> str:
        """Keeps the log of an engine, says once where it lies, and returns its path; empty if it has none."""
        path = engine.deployment.keep_log()
        if path and path not in self._kept_logs:
            self._kept_logs.add(path)
            self.terminal.say(f"{engine.title}: its log is kept: {path}")
        return path

    def finish(self, *, failed: bool) -> None:
        """Once the last test is over: counts the calls of apps that belonged to no test.

        If a test ``failed``, the logs of the engines are kept.
        """
        if failed and self._provisioner is not None:
            for engine in self._provisioner.running:
                self._keep_log(engine)
        if self._relays is not None:
            self.add_calls_outside(self._relays.count_outside())
        worker.report_calls_outside(self.config, self.calls_outside)
        self._check_exporters()
        for fault in self._past_runs.faults if self._past_runs is not None else ():
            self.findings.add(fault, error=False)
        worker.report_findings(self.config, self.findings.to_wire())

    def _check_exporters(self) -> None:
        if self._telemetry is None or not self.settings.dcgm or self.settings.disable:
            return
        if unread := self._telemetry.why_exporters_unread:
            self.findings.add(unread, error=self.settings.strict)
        elif self._telemetry.needs_no_exporters and self.config.getoption("llmperf_dcgm"):
            text = "--llmperf-dcgm has no effect: it is for engines of other hosts, and these run on this one"
            self.findings.add(text, error=False)

    def add_calls_outside(self, count: int | None) -> None:
        """Adds the count of this process or of a worker; None if no app was given an address."""
        if count is not None:
            self.calls_outside = (self.calls_outside or 0) + count

    def app_url(self, engine: Engine) -> str:
        """The address of the engine for an app under test: that of a relay, which measures its calls.

        An app that does not reach the engine itself needs the relay also if nothing is measured.
        """
        is_direct = self.settings.disable and not self.settings.relay_host
        return engine.base_url if is_direct else self.relays.url(engine)

    # --------------------------------------------------------------------------------------------------- a test

    def measures(self, item: pytest.Item) -> bool:
        """Whether this test has budgets or uses one of :data:`MEASURED_FIXTURES`."""
        if self.settings.disable or MISTAKE in item.stash:
            return False
        return LIMITS in item.stash or not MEASURED_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))

    def begin_measuring(self, item: pytest.Item) -> MeasuredRun | None:
        """Starts the measurement of a test; None if the test is not measured."""
        if not self.measures(item):
            return None
        from pytest_llmperf.plugin.measuring.forked_calls import ForkedCalls
        from pytest_llmperf.plugin.measuring.left_overs import LeftOvers, Owner
        from pytest_llmperf.plugin.measuring.measured_run import MeasuredRun

        if self._left_overs is None or self._forked_calls is None:
            self._left_overs, self._forked_calls = LeftOvers(), ForkedCalls()
        self.warmups.begin_test()
        item.stash[ATTEMPTS] = item.stash.get(ATTEMPTS, 0) + 1
        if RESULT in item.stash:
            del item.stash[RESULT]
        limits: list[Limit] = item.stash.get(LIMITS, [])
        if self.measured is not None:
            self.measured.cancel()  # its test never got to its call
        rules = self._find_rules(item, limits)
        owner = Owner(item.nodeid, item.stash[ATTEMPTS])
        measured = MeasuredRun(
            rules, owner, self.telemetry, self.relays, self._left_overs, self.prompt_caches, self._forked_calls
        )
        self.measured = measured
        item.stash[MEASURED_RUN] = measured
        return measured

    @property
    def past_runs(self) -> PastRuns:
        """The runs of the store that tests are compared with; made when first needed."""
        if self._past_runs is None:
            from pytest_llmperf.plugin.baselines.stored_past import PastRuns

            asked = self.settings.baselines
            self._past_runs = PastRuns(asked.store, asked.compare)
        return self._past_runs

    def _find_rules(self, item: pytest.Item, limits: list[Limit]) -> Rules:
        from pytest_llmperf.budgets.interval import Confidence
        from pytest_llmperf.plugin.measuring.looks import Allowance
        from pytest_llmperf.plugin.measuring.measured_run import Rules

        settings = self.settings
        return Rules(
            limits,
            Confidence(session_noise=settings.session_noise, comparisons=max(1, self.budgets.comparisons)),
            [name for spec in settings.engines for name in spec.names],
            item.stash.get(WARM_CACHE, False),
            Allowance(settings.max_rounds, settings.max_seconds),
            is_sequential=settings.rounds is None,
            compare=self.past_runs.compare(item.nodeid) if self._needs_past(limits) else None,
            prices=self.budgets.prices,
            page_metrics=self.budgets.page_metrics,
            find_pages=self._find_pages,
        )

    def _find_pages(self, engine: Engine) -> list[str]:
        """The metrics pages of an engine: those of the options, else that of its own server; none if it has none."""
        from pytest_llmperf.plugin.engine_options.owners import choose_all

        spec = engine.spec
        if given := choose_all(self.settings.metrics, spec.engine, spec.variant):
            return [page.value for page in given]
        return [f"{engine.endpoint.root}/metrics"] if engine.endpoint.base_url else []

    def _needs_past(self, limits: list[Limit]) -> bool:
        return any(limit.relative for limit in limits) and not self.settings.against

    def use_engines(self, item: pytest.Item, measured: MeasuredRun) -> None:
        """Registers the test's engines with its measurement.

        An engine that crashed in an earlier test is started again, and so is a sampler that died in one.
        """
        from pytest_llmperf.engines.api.engine import Engine
        from pytest_llmperf.engines.api.spec import EngineError

        try:
            self.telemetry.mend(self.provisioner.running)
        except EngineError as error:
            raise _make_unavailable("the engine", error) from None
        values = getattr(item, "funcargs", {})
        engine = values.get("llm_engine")
        if isinstance(engine, Engine):
            self.refuse_other_args(engine, values)
            measured.use(self.acquire(engine.spec))
        measured.name(_find_engines(values.values()))
        if "llm_engine_factory" in values:
            for running in self.provisioner.running:
                measured.use(running)

    def warm_up(self, item: pytest.Item, measured: MeasuredRun) -> None:
        """Warms up the engines of a test that have not answered a request since their start.

        Raises:
            EngineUnavailable: an engine ended over it.
        """
        from pytest_llmperf.engines.api.spec import EngineError

        limits = item.stash.get(LIMITS, ())
        try:
            with self.clock.paused():
                if self.warmups.warm_up(measured.engines, limits):
                    measured.wait_until_settled()
        except EngineError as error:
            raise _make_unavailable("the engine", error) from None

    def leave_to_others(self) -> None:
        """Wakes the engines after a test, for the other workers that share them."""
        if self._provisioner is not None:
            self._provisioner.wake()

    def close(self) -> None:
        """Ends relays, engines and sampler."""
        try:
            if self._relays is not None:
                self._relays.close()
            if self._forked_calls is not None:
                self._forked_calls.close()
                self._forked_calls = None
            if self._provisioner is not None:
                self._provisioner.close()
        finally:
            if self._telemetry is not None:
                self._telemetry.close()


def _find_engines(values: Iterable[object]) -> Iterator[Engine]:
    """The engines among these values, and in the lists, tuples and dicts among them."""
    from pytest_llmperf.engines.api.engine import Engine

    for value in values:
        if isinstance(value, Engine):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _find_engines(value)
        elif isinstance(value, dict):
            yield from _find_engines(value.values())


def _make_engine_error(text: str) -> EngineError:
    from pytest_llmperf.engines.api.spec import EngineError

    return EngineError(text)


def _make_unavailable(engine: str, error: EngineError) -> EngineUnavailable:
    from pytest_llmperf.plugin.outcomes import EngineUnavailable

    text = format_log(error.log_tail, error.log_path)
    return EngineUnavailable(str(error), [(f"log of {engine}, its last lines", text)] if text else [])
