"""The options, read and checked once: the frozen Settings and the specs of the engines."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_llmperf.plugin import worker
from pytest_llmperf.plugin.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from pytest_llmperf.engines.api.spec import EngineSpec
    from pytest_llmperf.engines.registry import EngineRegistry
    from pytest_llmperf.reports.formats import ReportFile


# The error at each look of --llmperf-rounds=auto is for so many looks.
MOST_LOOKS = 30


class Settings(NamedTuple):
    """The checked options. ``engines`` are in the order in which they were named.

    Not a dataclass: creating that class would take a third of the time that this plugin adds to every start of pytest.
    """

    engines: tuple[EngineSpec, ...]
    sample_hz: float
    rounds: int | None
    max_rounds: int
    max_seconds: float
    warmup: int
    engine_warmup: bool
    strict: bool
    fail_inconclusive: bool
    session_noise: float | None
    reports: tuple[ReportFile, ...]
    disable: bool
    refuse_busy_gpu: bool
    dcgm: tuple[str, ...]
    share: str
    launch: Mapping[str, Any]
    binaries: tuple[str, ...]

    @staticmethod
    def from_config(config: pytest.Config, registry: EngineRegistry) -> Settings:
        """Reads every option once; ``registry`` knows the engines.

        Raises:
            pytest.UsageError: one line naming the option and what would be right.
        """
        try:
            values = {name: _value(config, name) for name in (option.name for option in OPTIONS)}
            if worker.has_devices_of_its_own(config):
                values["llmperf_gpus"] = "auto"
            launch = _launch(values, worker.run_folder(config))
            engines = _engines(values, launch, registry) if values["llm_engine"] else ()
            return _settings(values, launch, engines, _reports(values["llmperf_report"], config))
        except (TypeError, ValueError) as error:
            raise pytest.UsageError(f"llmperf: {error}") from None

    def further_spec(self, engine: str, model: str | None, url: str | None, args: Mapping[str, str]) -> EngineSpec:
        """The spec of an engine that a test asks for: launched as the options say, with the settings given here."""
        from pytest_llmperf.engines.api.spec import EngineSpec

        named = any(spec.engine == engine for spec in self.engines)
        texts = [text for text in self.binaries if named or text.startswith(f"{engine}:")]
        return EngineSpec(engine, model, url, args, binary=_engine_binary(texts, engine), **self.launch)


def _value(config: pytest.Config, name: str) -> Any:
    given = config.getoption(name)
    if given is not None:
        return given
    try:
        return config.getini(name)
    except (TypeError, ValueError, pytest.UsageError) as error:
        raise ValueError(f"the setting {name} in the configuration file: {error}") from None


def _launch(values: Mapping[str, Any], run: str) -> dict[str, Any]:
    """How every engine is started: the fields of an EngineSpec that are the same for all."""
    for name in ("llmperf_startup_timeout", "llmperf_sample_hz"):
        if not 0 < values[name] < float("inf"):
            raise ValueError(f"{_flag(name)}={values[name]:g} must be above 0")
    if not 0 <= values["llmperf_keep_engine"] < float("inf"):
        raise ValueError(f"--llmperf-keep-engine={values['llmperf_keep_engine']:g} must be 0 or more")
    if values["llmperf_sample_hz"] > 1000:
        raise ValueError(f"--llmperf-sample-hz={values['llmperf_sample_hz']:g} must be 1000 or less")
    if values["llmperf_sample_hz"] < 0.1:
        raise ValueError(f"--llmperf-sample-hz={values['llmperf_sample_hz']:g} must be 0.1 or more")
    return {
        "startup_timeout": values["llmperf_startup_timeout"],
        "keep": values["llmperf_keep_engine"],
        "pull": values["llmperf_pull"],
        "visible_devices": visible_devices(values["llmperf_gpus"]),
        "run": run,
    }


def _settings(
    values: Mapping[str, Any],
    launch: Mapping[str, Any],
    engines: tuple[EngineSpec, ...],
    reports: tuple[ReportFile, ...],
) -> Settings:
    if not 2 <= values["llmperf_max_rounds"] <= MOST_LOOKS:
        raise ValueError(f"--llmperf-max-rounds={values['llmperf_max_rounds']} must be 2 to {MOST_LOOKS}")
    _check_at_least(values, "llmperf_max_seconds", 0)
    _check_at_least(values, "llmperf_warmup", 0)
    strict = values["llmperf_strict"]
    return Settings(
        engines=engines,
        sample_hz=values["llmperf_sample_hz"],
        rounds=_rounds(values["llmperf_rounds"]),
        max_rounds=values["llmperf_max_rounds"],
        max_seconds=values["llmperf_max_seconds"],
        warmup=values["llmperf_warmup"],
        engine_warmup=values["llmperf_engine_warmup"],
        strict=_runs_in_ci() if strict is None else strict,
        fail_inconclusive=_check_one_of(values, "llmperf_on_inconclusive", ("pass", "fail")) == "fail",
        session_noise=_session_noise(values["llmperf_session_noise"]),
        reports=reports,
        disable=values["llmperf_disable"],
        refuse_busy_gpu=_refuse_busy_gpu(values["llmperf_busy_gpu"]),
        dcgm=_exporters(values["llmperf_dcgm"]),
        share=_check_one_of(values, "llmperf_share", worker.SHARES),
        launch=launch,
        binaries=tuple(values["llmperf_engine_bin"]),
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_at_least(values: Mapping[str, Any], name: str, least: int) -> None:
    if not values[name] >= least:  # nor is nan
        raise ValueError(f"{_flag(name)}={values[name]} must be {least} or more")


def _check_one_of(values: Mapping[str, Any], name: str, known: Sequence[str]) -> str:
    value: str = values[name]
    if value not in known:
        raise ValueError(f"{_flag(name)}={value} is neither {' nor '.join(known)}")
    return value


def _rounds(text: str) -> int | None:
    """The number of rounds; None for ``auto``."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"--llmperf-rounds={text} is neither a number from 1 nor auto")
    return int(text)


def _session_noise(text: str | None) -> float | None:
    if not text:
        return None
    from pytest_llmperf.measurement.units import SHARE, UnitError, parse

    try:
        share = parse(text, SHARE)
    except UnitError as error:
        raise ValueError(f"--llmperf-session-noise={error}") from None
    if share >= 1:
        raise ValueError(f"--llmperf-session-noise={text} must be below 100 %")
    return share


def _refuse_busy_gpu(text: str | None) -> bool:
    if text not in (None, "fail", "warn"):
        raise ValueError(f"--llmperf-busy-gpu={text} is neither fail nor warn")
    return _runs_in_ci() if text is None else text == "fail"


def _exporters(urls: Sequence[str]) -> tuple[str, ...]:
    if not urls:
        return ()
    from pytest_llmperf.telemetry.sources.dcgm import parse_exporter_url

    return tuple(parse_exporter_url(url) for url in urls)


def _runs_in_ci() -> bool:
    return bool(os.environ.get("CI")) and os.environ["CI"].lower() not in ("0", "false")


def _reports(texts: Sequence[str], config: pytest.Config) -> tuple[ReportFile, ...]:
    if not texts:
        return ()
    from pytest_llmperf.reports.formats import ReportFile, merge_formats

    formats = merge_formats(config.hook.pytest_llmperf_reports())
    paths = [_report_path(text, config.invocation_params.dir, formats) for text in texts]
    return tuple(ReportFile(path, formats[path.suffix.lower()]) for path in paths)


def _report_path(text: str, invoked_in: Path, suffixes: Collection[str]) -> Path:
    path = invoked_in / text
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"--llmperf-report={text} has no known suffix: write {' or '.join(suffixes)}")
    folder = next(parent for parent in path.parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"--llmperf-report={text} cannot be written")
    return path


def visible_devices(selection: str) -> str | None:
    """The CUDA_VISIBLE_DEVICES that ``--llmperf-gpus`` stands for, None for the caller's own.

    Raises:
        ValueError: it selects what is not there.
    """
    if selection == "auto":
        return None
    from pytest_llmperf.telemetry.visible_devices import select_devices

    return select_devices(selection, os.environ)


def _engines(values: Mapping[str, Any], launch: Mapping[str, Any], registry: EngineRegistry) -> tuple[EngineSpec, ...]:
    specs: list[EngineSpec] = []
    for text in values["llm_engine"]:
        spec = engine_spec(text, values, launch, registry)
        if spec.key in [other.key for other in specs]:
            raise ValueError(f"--llm-engine={text} is given twice")
        specs.append(spec)
    return tuple(specs)


def engine_spec(
    text: str, values: Mapping[str, Any], launch: Mapping[str, Any], registry: EngineRegistry
) -> EngineSpec:
    """``NAME[:MODEL]`` and the options that go with it.

    Raises:
        ValueError: unknown engine, or options it cannot work with.
    """
    from pytest_llmperf.engines.api.spec import EngineError, EngineSpec

    name, _, model = text.partition(":")
    try:
        spec = EngineSpec(
            engine=name,
            model=model or values["llmperf_model"] or None,
            url=values["llmperf_url"] or None,
            args=engine_arguments(values["llmperf_engine_arg"], name),
            binary=_engine_binary(values["llmperf_engine_bin"], name),
            **launch,
        )
        registry.find(name).check(spec)
    except EngineError as error:
        raise ValueError(str(error)) from None
    return spec


def engine_arguments(texts: Sequence[str], engine: str) -> dict[str, str]:
    """The settings for this engine among ``[ENGINE:]KEY=VALUE`` texts.

    Raises:
        ValueError: one of them has no ``=``.
    """
    found = {}
    for text in texts:
        left, equals, value = text.partition("=")
        owner, colon, key = left.rpartition(":")
        if not equals or not key:
            raise ValueError(f"--llmperf-engine-arg={text} is not [ENGINE:]KEY=VALUE")
        if not colon or owner == engine:
            found[key] = value
    return found


def argument_text(value: object) -> str:
    """A value of ``llm_engine_args`` as it would be written on the command line: dicts and lists as JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def _engine_binary(texts: Sequence[str], engine: str) -> str | None:
    found = None
    for text in texts:
        owner, colon, path = text.partition(":")
        if not colon:
            found = text
        elif owner == engine:
            return path
    return found
