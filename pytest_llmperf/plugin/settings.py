"""The options, read and checked once: the frozen Settings and the specs of the engines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_llmperf.plugin import worker
from pytest_llmperf.plugin.baselines.asked import BaselineOptions, read_baseline_options
from pytest_llmperf.plugin.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from pytest_llmperf.engines.api.spec import EngineSpec
    from pytest_llmperf.engines.registry import EngineRegistry
    from pytest_llmperf.plugin.engine_options.owners import Owned
    from pytest_llmperf.reports.files.formats import ReportFile


# The error at each look of --llmperf-rounds=auto is for so many looks.
MOST_LOOKS = 30
FEWEST_CALIBRATION_RUNS = 3
# With these pytest shows something and runs no test.
_SHOWING = ("help", "version", "collectonly", "showfixtures", "show_fixtures_per_test", "markers", "setupplan")


class Settings(NamedTuple):
    """The checked options. ``engines`` are in the order in which they were named.

    With ``against``, the label of the engine that the other one is compared with, they are the new one and the old one;
    ``seed`` is then that of the order of their turns.

    ``labels`` are those of the run's engines, and those that the ini file gives to engines which are not in this run.

    Not a dataclass: creating that class would take a third of the time that this plugin adds to every start of pytest.
    """

    engines: tuple[EngineSpec, ...]
    labels: tuple[str, ...]
    sample_hz: float
    request_timeout: float
    rounds: int | None
    max_rounds: int
    max_seconds: float
    warmup: int
    engine_warmup: bool
    strict: bool
    fail_inconclusive: bool
    session_noise: float | None
    table: bool | None
    reports: tuple[ReportFile, ...]
    baselines: BaselineOptions
    disable: bool
    refuse_busy_gpu: bool
    dcgm: tuple[str, ...]
    metrics: tuple[Owned, ...]
    share: str
    launch: Mapping[str, Any]
    programs: tuple[str, ...]
    against: str
    seed: int
    relay_host: str

    @property
    def suite_engines(self) -> tuple[EngineSpec, ...]:
        """Those that the suite runs on, once each; the engine that another is compared with is none of them."""
        return self.engines[:1] if self.against else self.engines

    @property
    def suite_labels(self) -> list[str]:
        """What those are called, in order."""
        return [spec.label for spec in self.suite_engines]

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
            if values["llmperf_against"]:
                engines = _choose_pair(engines, values["llmperf_against"])
            labels = _labels(engines, config.getini("llm_engine"))
            if values["llmperf_seed"] is None:
                values["llmperf_seed"] = worker.read_seed(config)
            baselines = read_baseline_options(values, config)
            if values["llmperf_against"]:  # the ini file may have them for other runs
                baselines = baselines._replace(save="", shows_all=False)
            return _settings(values, launch, engines, labels, _reports(values["llmperf_report"], config), baselines)
        except (TypeError, ValueError) as error:
            raise pytest.UsageError(f"llmperf: {error}") from None

    def further_spec(
        self, engine: str, model: str | None, url: str | None, args: Mapping[str, str], program: str | None
    ) -> EngineSpec:
        """The spec of an engine that a test asks for: launched as the options say, with what is given here.

        Without a ``program`` it is that of the options for this engine; one for all engines is for those of the run.
        """
        from pytest_llmperf.engines.api.spec import EngineSpec
        from pytest_llmperf.plugin.engine_options.specs import choose_program

        is_of_run = any(spec.engine == engine for spec in self.engines)
        binary = program or choose_program(self.programs, engine, only_own=not is_of_run)
        return EngineSpec(engine, model, url, args, binary=binary, **self.launch)


def _value(config: pytest.Config, name: str) -> Any:
    given = config.getoption(name)
    if given is not None:
        return given
    try:
        return config.getini(name)
    except (TypeError, ValueError, pytest.UsageError) as error:
        raise ValueError(f"the setting {name} in the configuration file: {error}") from None


def count_calibration_runs(config: pytest.Config) -> int:
    """How often ``--llmperf-calibrate`` asks to run the suite; 0 for a run that is no calibration.

    Raises:
        pytest.UsageError: fewer runs than tell anything.
    """
    runs: int = _value(config, "llmperf_calibrate")
    if not runs or any(config.getoption(name, False) for name in _SHOWING):
        return 0
    if runs < FEWEST_CALIBRATION_RUNS:
        raise pytest.UsageError(
            f"llmperf: --llmperf-calibrate={runs} must be {FEWEST_CALIBRATION_RUNS} or more: fewer runs do not tell "
            "how much they differ"
        )
    return runs


def _launch(values: Mapping[str, Any], run: str) -> dict[str, Any]:
    """How every engine is started: the fields of an EngineSpec that are the same for all."""
    for name in ("llmperf_startup_timeout", "llmperf_request_timeout", "llmperf_sample_hz"):
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
    labels: tuple[str, ...],
    reports: tuple[ReportFile, ...],
    baselines: BaselineOptions,
) -> Settings:
    if not 2 <= values["llmperf_max_rounds"] <= MOST_LOOKS:
        raise ValueError(f"--llmperf-max-rounds={values['llmperf_max_rounds']} must be 2 to {MOST_LOOKS}")
    _check_at_least(values, "llmperf_max_seconds", 0)
    _check_at_least(values, "llmperf_warmup", 0)
    strict = values["llmperf_strict"]
    return Settings(
        engines=engines,
        labels=labels,
        sample_hz=values["llmperf_sample_hz"],
        request_timeout=values["llmperf_request_timeout"],
        rounds=_rounds(values["llmperf_rounds"]),
        max_rounds=values["llmperf_max_rounds"],
        max_seconds=values["llmperf_max_seconds"],
        warmup=values["llmperf_warmup"],
        engine_warmup=values["llmperf_engine_warmup"],
        strict=_runs_in_ci() if strict is None else strict,
        fail_inconclusive=_check_one_of(values, "llmperf_on_inconclusive", ("pass", "fail")) == "fail",
        session_noise=_session_noise(values["llmperf_session_noise"]),
        table=values["llmperf_table"],
        reports=reports,
        baselines=baselines,
        disable=values["llmperf_disable"],
        refuse_busy_gpu=_refuse_busy_gpu(values["llmperf_busy_gpu"]),
        dcgm=_exporters(values["llmperf_dcgm"]),
        metrics=_pages(values["llmperf_metrics"]),
        share=_check_one_of(values, "llmperf_share", worker.SHARES),
        launch=launch,
        programs=tuple(values["llmperf_engine_bin"]),
        against=values["llmperf_against"] or "",
        seed=_seed(values),
        relay_host=_relay_host(values["llmperf_relay_host"]),
    )


def _engines(values: Mapping[str, Any], launch: Mapping[str, Any], registry: EngineRegistry) -> tuple[EngineSpec, ...]:
    from pytest_llmperf.plugin.engine_options.specs import read_specs

    return read_specs(values, launch, registry)


def _choose_pair(engines: tuple[EngineSpec, ...], against: str) -> tuple[EngineSpec, ...]:
    from pytest_llmperf.plugin.engine_options.specs import choose_pair

    return choose_pair(engines, against)


def _seed(values: Mapping[str, Any]) -> int:
    """That of the order of turns; 0 in a run without turns."""
    if values["llmperf_seed"] is not None:
        _check_at_least(values, "llmperf_seed", 0)
        return int(values["llmperf_seed"])
    if not values["llmperf_against"]:
        return 0
    from pytest_llmperf.plugin.pairing.turns import draw_seed

    return draw_seed()


def _relay_host(given: str | None) -> str:
    if not given:
        return ""
    from pytest_llmperf.plugin.measuring.relay_host import parse_relay_host

    return parse_relay_host(given)


def _labels(engines: Sequence[EngineSpec], in_file: Sequence[str]) -> tuple[str, ...]:
    if not any("=" in text for text in in_file):
        return tuple(spec.variant for spec in engines if spec.variant)
    from pytest_llmperf.plugin.engine_options.specs import parse_engine

    found = [spec.variant for spec in engines] + [parse_engine(text)[0] for text in in_file]
    return tuple(label for label in dict.fromkeys(found) if label)


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


def _pages(texts: Sequence[str]) -> tuple[Owned, ...]:
    if not texts:
        return ()
    from pytest_llmperf.plugin.engine_options.owners import METRICS, parse_all
    from pytest_llmperf.system.prometheus import check_page_url

    pages = parse_all(METRICS, dict.fromkeys(texts))
    for page in pages:
        try:
            check_page_url(page.value)
        except ValueError as error:
            raise ValueError(f"{METRICS}: {error}") from None
    return tuple(pages)


def _runs_in_ci() -> bool:
    return bool(os.environ.get("CI")) and os.environ["CI"].lower() not in ("0", "false")


def _reports(texts: Sequence[str], config: pytest.Config) -> tuple[ReportFile, ...]:
    if not texts:
        return ()
    from pytest_llmperf.reports.files.formats import make_report_file, merge_formats

    formats = merge_formats(config.hook.pytest_llmperf_reports())
    paths = [_report_path(text, config.invocation_params.dir, formats) for text in texts]
    return tuple(make_report_file(path, formats) for path in paths)


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
