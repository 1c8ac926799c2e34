"""Options on the command line that can have no effect in this run: refused, or said.

Ini files and ``addopts`` hold settings for every run of a project, and may have more of them than one run needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_llmperf.engines.registry import BUILT_IN
from pytest_llmperf.plugin.preflight.marker_names import guess_marker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.engines.api.spec import EngineSpec
    from pytest_llmperf.engines.registry import EngineRegistry
    from pytest_llmperf.plugin.engine_options.owners import Owned
    from pytest_llmperf.plugin.preflight.findings import Findings

_ENGINES_ONLY = ("--llmperf-model", "--llmperf-url", "--llmperf-engine-arg", "--llmperf-engine-bin")
_SINGLE = ("--llmperf-model", "--llmperf-gpus")
_OWNED = ("--llmperf-url", "--llmperf-engine-arg", "--llmperf-engine-bin")
_PAGES = "--llmperf-metrics"
_ALLOWANCE = ("--llmperf-max-rounds", "--llmperf-max-seconds")
_INSTEAD_OF_PAIRS = ("--llmperf-rounds", *_ALLOWANCE, "--llmperf-session-noise", "--llmperf-compare")
_WARMING = ("--llmperf-engine-warmup", "--llmperf-no-engine-warmup")
_MEASURING = (
    "--llmperf-rounds",
    *_ALLOWANCE,
    "--llmperf-warmup",
    "--llmperf-sample-hz",
    "--llmperf-busy-gpu",
    "--llmperf-dcgm",
    "--llmperf-metrics",
    "--llmperf-on-inconclusive",
    "--llmperf-session-noise",
    "--llmperf-against",
    "--llmperf-compare",
)


class RunSettings(Protocol):
    """The part of the settings that says what a run does."""

    @property
    def engines(self) -> tuple[EngineSpec, ...]:
        """The engines that it asks for."""

    @property
    def suite_engines(self) -> tuple[EngineSpec, ...]:
        """Those that the suite runs on, once each."""

    @property
    def against(self) -> str:
        """The label of the engine that the other one is compared with; empty for a run that compares none."""

    @property
    def metrics(self) -> tuple[Owned, ...]:
        """The metrics pages, each with the engines that it is for."""

    @property
    def disable(self) -> bool:
        """Whether nothing is measured."""

    @property
    def rounds(self) -> int | None:
        """How often each test runs; None for as often as its budgets need."""

    @property
    def strict(self) -> bool:
        """Whether what has no verdict fails."""

    @property
    def launch(self) -> Mapping[str, Any]:
        """How every engine is started."""


def read_command_line(arguments: Sequence[str], flag: str) -> list[str]:
    """The values that a flag was given on the command line, in order."""
    following = zip(arguments, [*arguments, ""][1:], strict=True)
    return [
        value
        for argument, after in following
        for value in ([after] if argument == flag else [argument[len(flag) + 1 :]])
        if argument == flag or argument.startswith(f"{flag}=")
    ]


def check_options(
    config: pytest.Config,
    settings: RunSettings,
    registry: EngineRegistry,
    findings: Findings,
    *,
    known: Sequence[str],
    distributed: bool,
    has_page_metrics: bool,
) -> None:
    """Refuses options of the command line that can have no effect, and finds those that change nothing in this run.

    ``known`` has the names of all settings of the ini file. ``distributed`` is whether the tests run in workers,
    ``has_page_metrics`` whether ``llmperf.toml`` has any.

    Raises:
        pytest.UsageError: one line that names the option and what it needs.
    """
    arguments = config.invocation_params.args
    _refuse(next(_problems(config, settings, registry, has_page_metrics=has_page_metrics), ""))
    if read_command_line(arguments, "--llmperf-gpus"):
        _refuse(_why_devices_missing(settings))
    elif settings.engines and not settings.disable and not all(spec.url for spec in settings.engines):
        for missing in filter(None, [_why_devices_missing(settings)]):
            findings.add(missing, error=settings.strict)
    for text in _find_idle(arguments, settings, distributed=distributed):
        findings.add(text, error=False)
    for text in _find_unknown_settings(config, known):
        findings.add(text, error=settings.strict)


def _refuse(problem: str) -> None:
    if problem:
        raise pytest.UsageError(f"llmperf: {problem}")


def _problems(
    config: pytest.Config, settings: RunSettings, registry: EngineRegistry, *, has_page_metrics: bool
) -> Iterator[str]:
    arguments = config.invocation_params.args
    if not settings.engines:
        for flag in _ENGINES_ONLY:
            yield from (
                f"{flag}={value} has no effect without --llm-engine=NAME"
                for value in read_command_line(arguments, flag)
                if flag != "--llmperf-engine-bin" or ":" not in value  # the programs of engines that tests ask for
            )
    if settings.against:
        for flag in _INSTEAD_OF_PAIRS:
            for value in read_command_line(arguments, flag):
                yield f"{flag}={value} has no effect with --llmperf-against: pairs of turns take its place"
        if any(argument.partition("=")[0] == "--llmperf-save" for argument in arguments):
            yield "--llmperf-save has no effect with --llmperf-against: a run of two engines is no baseline of one"
    elif seed := read_command_line(arguments, "--llmperf-seed"):
        yield f"--llmperf-seed={seed[-1]} has no effect without --llmperf-against=LABEL"
    yield from _given_twice(arguments)
    models = read_command_line(arguments, "--llmperf-model")
    if models and not any(spec.model == models[-1] for spec in settings.engines):
        yield f"--llmperf-model={models[-1]} has no effect: --llm-engine names a model already"
    for flag in _OWNED:
        yield from _find_misowned(config, flag, settings, registry)
    yield from _find_unused_pages(config, settings, has_page_metrics=has_page_metrics)
    if settings.engines and read_command_line(arguments, "--llmperf-dcgm") and not _attaches(settings):
        yield "--llmperf-dcgm has no effect: it is for engines of other hosts, given by --llmperf-url"


def _find_unused_pages(config: pytest.Config, settings: RunSettings, *, has_page_metrics: bool) -> Iterator[str]:
    """A sentence for each metrics page of the command line of which nothing would be read."""
    for text in read_command_line(config.invocation_params.args, _PAGES):
        if not has_page_metrics:
            yield f"{_PAGES}={text} has no effect: llmperf.toml has no [metrics] that would be read from it"
        elif settings.engines:
            from pytest_llmperf.plugin.engine_options.owners import choose_all, parse_owned

            page = parse_owned(_PAGES, text)
            if not any(page in choose_all(settings.metrics, spec.engine, spec.variant) for spec in settings.engines):
                named = ", ".join(dict.fromkeys(spec.label for spec in settings.engines))
                yield f"{_PAGES}={text} has no effect: it is for no engine of this run, or others beat it: {named}"


def _given_twice(arguments: Sequence[str]) -> Iterator[str]:
    """A sentence for each option that is given two values, of which only the last would have an effect."""
    for flag in _SINGLE:
        first, *others = dict.fromkeys(read_command_line(arguments, flag)) or [""]
        for other in others:
            yield f"{flag} is given twice, as {first} and as {other}, and only the last would have an effect"


def _find_misowned(config: pytest.Config, flag: str, settings: RunSettings, registry: EngineRegistry) -> Iterator[str]:
    """A sentence for each value of one of :data:`_OWNED` that reaches no engine, or would be replaced silently."""
    typed = read_command_line(config.invocation_params.args, flag)
    values = _read_all(config, flag)
    if not values:
        return
    from pytest_llmperf.plugin.engine_options.owners import PROGRAM, URL, find_repeated, parse_all, why_unused

    yield from find_repeated(flag, parse_all(flag, typed))
    if flag == URL:  # settings and programs of a file may give way to later ones, but which server is meant?
        yield from find_repeated(flag, parse_all(flag, values[: len(values) - len(typed)]))
    if not settings.engines:
        return
    for value in parse_all(flag, typed):
        if flag != PROGRAM:
            yield from filter(None, [why_unused(flag, value, parse_all(flag, values), settings.engines)])
        elif value.owner and value.owner not in BUILT_IN:  # an engine that is not in the run may be one of a test
            known = [*(spec.variant for spec in settings.engines if spec.variant), *registry.names]
            if value.owner not in known:
                yield f"{flag}={value.text}: unknown engine {value.owner!r}: it is one of {', '.join(known)}"


def _read_all(config: pytest.Config, flag: str) -> Sequence[str]:
    name = flag.removeprefix("--").replace("-", "_")
    given: Sequence[str] | None = config.getoption(name)
    return list(config.getini(name)) if given is None else given


def _attaches(settings: RunSettings) -> bool:
    return any(spec.url for spec in settings.engines)


def _why_devices_missing(settings: RunSettings) -> str:
    """Why the devices of ``--llmperf-gpus`` are not all here, or "". Asks the driver, which may take seconds."""
    selection = settings.launch["visible_devices"]
    if selection is None:
        return ""
    from pytest_llmperf.telemetry.devices import list_visible
    from pytest_llmperf.telemetry.visible_devices import parse_visible_devices

    named, found = parse_visible_devices(selection), list_visible(selection)
    if not found:
        return (
            f"--llmperf-gpus: no driver of this host lists {selection}: leave the option out to compute without a GPU"
        )
    if len(found) < len(named) and not any(facts.parent for facts in found):
        return (
            f"--llmperf-gpus: of {selection} only {', '.join(facts.name for facts in found)} is a device of this host"
        )
    return ""


def _find_idle(arguments: Sequence[str], settings: RunSettings, *, distributed: bool) -> Iterator[str]:
    """A sentence for each option that changes nothing in this run, and does no harm."""
    given = {flag: read_command_line(arguments, flag) for flag in (*_MEASURING, "--llmperf-keep-engine")}
    if settings.disable:
        for flag in (flag for flag in _MEASURING if given[flag]):
            yield f"{flag}={given[flag][-1]} has no effect with --llmperf-disable"
    if settings.disable and any(argument.startswith("--llmperf-save") for argument in arguments):
        yield "--llmperf-save has no effect with --llmperf-disable"
    if settings.disable and "--llmperf-table" in arguments:
        yield "--llmperf-table has no effect with --llmperf-disable"
    if given["--llmperf-keep-engine"] and settings.launch["keep"]:
        if _attaches(settings):
            yield "--llmperf-keep-engine has no effect with --llmperf-url: that server runs on anyway"
        elif len(settings.suite_engines) > 1 and not distributed:
            yield "--llmperf-keep-engine keeps the last of several engines: each other ends before the next starts"
    if given["--llmperf-busy-gpu"] and settings.engines and all(spec.url for spec in settings.engines):
        yield "--llmperf-busy-gpu has no effect with --llmperf-url: it is for engines that are started here"
    if settings.engines and all(spec.url for spec in settings.engines):
        for flag in (flag for flag in _WARMING if flag in arguments):
            yield f"{flag} has no effect with --llmperf-url: a server that runs already is not warmed up"
    if "devices" in read_command_line(arguments, "--llmperf-share") and not distributed:
        yield "--llmperf-share=devices has no effect without workers of pytest-xdist: -n2"


def _find_unknown_settings(config: pytest.Config, known: Sequence[str]) -> Iterator[str]:
    """A sentence for each setting of the ini file, or of ``-o``, that is meant for this plugin and is none of its.

    pytest only warns of those in the file.
    """
    # Newer versions of pytest deprecate ``inicfg``, and have no other list of what a file sets.
    written: Mapping[str, object] = config._inicfg if hasattr(config, "_inicfg") else config.inicfg
    overrides = [text.partition("=")[0] for text in config.getoption("override_ini") or ()]
    for name in dict.fromkeys([*written, *overrides]):
        likely = guess_marker(name, known)
        if name in known or not (likely or name.startswith("llmperf_")) or _is_registered(config, name):
            continue
        hint = f"; {likely} is" if likely else ""
        yield f"{name} in the ini file or -o is no setting of pytest-llmperf and has no effect{hint}"


def _is_registered(config: pytest.Config, name: str) -> bool:
    try:
        config.getini(name)
    except ValueError:
        return False
    return True


def find_unrepeated(config: pytest.Config) -> Iterator[str]:
    """A sentence for each option that repeats tests, for a run without tests that it repeats."""
    for flag in ("--llmperf-rounds", "--llmperf-warmup"):
        for value in read_command_line(config.invocation_params.args, flag)[-1:]:
            yield f"{flag}={value} has no effect: only tests with budgets are repeated"


def find_unspent(config: pytest.Config) -> Iterator[str]:
    """A sentence for each option that bounds tests which go on until they are decided, for a run without such tests."""
    for flag in _ALLOWANCE:
        for value in read_command_line(config.invocation_params.args, flag)[-1:]:
            yield f"{flag}={value} has no effect without --llmperf-rounds=auto or run(..., until='decided')"
