"""From the options to the specs of a run's engines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.registry import BUILT_IN
from pytest_llmperf.plugin.engine_options.owners import ARGUMENT, PROGRAM, URL, choose, is_label, parse_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.engines.api.spec import EngineSpec
    from pytest_llmperf.engines.registry import EngineRegistry


def read_specs(
    values: Mapping[str, Any], launch: Mapping[str, Any], registry: EngineRegistry
) -> tuple[EngineSpec, ...]:
    """The engines that ``--llm-engine`` names, in order, each with the options that go with it.

    Raises:
        ValueError: an unknown engine, options that it cannot work with, or two engines that cannot be told apart.
    """
    from pytest_llmperf.engines.api.spec import EngineError

    specs: list[EngineSpec] = []
    for text in values["llm_engine"]:
        try:
            spec = _read_spec(text, values, launch, registry)
            _check_label(text, spec, specs, registry)
        except EngineError as error:
            raise ValueError(f"{error}{_mention_strays(values)}") from None
        specs.append(spec)
    return tuple(specs)


def choose_pair(engines: tuple[EngineSpec, ...], against: str) -> tuple[EngineSpec, ...]:
    """The new engine and the old one of ``--llmperf-against=LABEL``, which names the old one.

    Raises:
        ValueError: the run has not exactly two engines, or none of them is called so.
    """
    if len(engines) != 2:
        given = ", ".join(spec.label for spec in engines) or "none"
        raise ValueError(
            f"--llmperf-against={against} compares one engine with another: give --llm-engine=LABEL=ENGINE twice; this "
            f"run has {given}"
        )
    old = [spec for spec in engines if spec.label == against]
    if not old:
        raise ValueError(
            f"--llmperf-against={against} is no label of an engine of this run; they are "
            f"{' and '.join(spec.label for spec in engines)}"
        )
    return (*(spec for spec in engines if spec.label != against), *old)


def _mention_strays(values: Mapping[str, Any]) -> str:
    """The values that are for an unknown label, which may be why an engine lacks one; empty if there are none."""
    known = {*BUILT_IN, *(name for text in values["llm_engine"] for name in parse_engine(text)[:2])}
    strays = [
        f"{flag}={value.text}"
        for flag in (URL, ARGUMENT, PROGRAM)
        for value in parse_all(flag, values[flag.removeprefix("--").replace("-", "_")])
        if value.owner and value.owner not in known
    ]
    return (
        f" ({' and '.join(strays)} {'is' if len(strays) == 1 else 'are'} for no engine of this run)" if strays else ""
    )


def _read_spec(text: str, values: Mapping[str, Any], launch: Mapping[str, Any], registry: EngineRegistry) -> EngineSpec:
    """The spec of ``[LABEL=]NAME[:MODEL]``.

    Raises:
        EngineError, ValueError: an unknown engine, options that it cannot work with, or an impossible label.
    """
    from pytest_llmperf.engines.api.spec import EngineError, EngineSpec

    variant, name, model = parse_engine(text)
    url = choose(parse_all(URL, values["llmperf_url"]), name, variant).get("")
    spec = EngineSpec(
        engine=name,
        variant=variant,
        model=model or values["llmperf_model"] or None,
        url=(url.value or None) if url is not None else None,
        args=choose_arguments(values["llmperf_engine_arg"], name, variant),
        binary=choose_program(values["llmperf_engine_bin"], name, variant),
        **launch,
    )
    try:
        registry.find(name).check(spec)
    except EngineError as error:
        raise EngineError(f"{variant}: {error}" if variant else str(error)) from None
    return spec


def parse_engine(text: str) -> tuple[str, str, str]:
    """Label, name and model of ``[LABEL=]NAME[:MODEL]``; empty where there is none.

    Raises:
        ValueError: the label has other characters than a label may have.
    """
    label, equals, named = text.partition("=")
    if not equals or ":" in label:  # the sign belongs to the model
        label, named = "", text
    elif not is_label(label):
        raise ValueError(
            f"--llm-engine={text}: the label {label!r} is not of letters, digits, '-', '_' and '.', 64 at most, the "
            "first a letter or a digit"
        )
    name, _, model = named.partition(":")
    return label, name, model


def _check_label(text: str, spec: EngineSpec, others: Sequence[EngineSpec], registry: EngineRegistry) -> None:
    """Refuses an engine that a user could not tell from another one.

    Raises:
        EngineError: the engines of other packages cannot be told.
        ValueError: naming the option and what would be right.
    """
    if spec.label in [other.label for other in others]:
        if spec.variant:
            raise ValueError(f"--llm-engine={text}: the label {spec.variant!r} is given twice")
        raise ValueError(
            f"--llm-engine={text} is given twice: to run {spec.label} with several settings, programs or servers, "
            f"give each a label of its own, --llm-engine=LABEL={text}"
        )
    if spec.variant and spec.variant != spec.engine and spec.variant in registry.names:
        raise ValueError(f"--llm-engine={text}: the label {spec.variant!r} is the name of an engine: choose another")
    for one, other in [(spec, other) for other in others] + [(other, spec) for other in others]:
        if one.variant == other.engine:
            raise ValueError(
                f"--llm-engine={text}: {one.variant!r} would be the label of one engine of this run and the name of "
                "another: choose another label"
            )


def choose_arguments(texts: Sequence[str], engine: str, variant: str = "") -> dict[str, str]:
    """The settings for an engine among ``[ENGINE or LABEL:]KEY=VALUE`` texts.

    Raises:
        ValueError: one of them is no such text.
    """
    return {key: chosen.value for key, chosen in choose(parse_all(ARGUMENT, texts), engine, variant).items()}


def choose_program(texts: Sequence[str], engine: str, variant: str = "", *, only_own: bool = False) -> str | None:
    """The program for an engine among ``[ENGINE or LABEL:]PATH`` texts, None if there is none.

    With ``only_own`` one that is for all engines does not count.
    """
    found = choose(parse_all(PROGRAM, texts), engine, variant).get("")
    return None if found is None or (only_own and not found.owner) else found.value


def write_argument(value: object) -> str:
    """A value of ``llm_engine_args`` as it would be written on the command line: dicts and lists as JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
