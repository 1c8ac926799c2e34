"""Compares the engine of a test with the reference of its quality budget, once the test is over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from pytest_llmperf.budgets.limit import is_comparison, select
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.measurement.quality.comparison import NoComparison
from pytest_llmperf.quality.comparison import compare
from pytest_llmperf.quality.probe import ProbeError, probe
from pytest_llmperf.quality.reference import ReferenceFileError, read_reference
from pytest_llmperf.quality.text import TextError, read_default_text, read_text_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.engines.api.spec import EngineSpec
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.quality.comparison import QualityComparison
    from pytest_llmperf.measurement.quality.next_tokens import TextNextTokens
    from pytest_llmperf.quality.text import ProbeText


class FindsBaseline(Protocol):
    """Finds the next tokens of the newest run in the store that a measurement may be compared with."""

    def __call__(self, measurement: Measurement, text: str) -> tuple[str, TextNextTokens] | str:
        """What messages call that run, with its next tokens; or why there are none, in one sentence."""


@dataclass(frozen=True)
class ProbeMeans:
    """What the comparison does its work with.

    Attributes:
        ready: gives the engine of a spec, ready, for as long as the block runs; raises EngineError.
        find_spec: the complete spec of an engine of the run by its label or name, with the settings that the project
            gives to the engine of the test; None if the run has no such engine.
        find_baseline: finds the baseline in the store.
        show: shows a line of progress; an empty one removes it.
        root: the folder that paths of references and texts start from.
        pair: of an A/B, the label of the engine that the other one is compared with; else empty.
        keeps: whether the run keeps the next tokens of its engines for later runs.
        writes: the file that the run writes a reference to; None if it does not.
    """

    ready: Callable[[EngineSpec], AbstractContextManager[Engine]]
    find_spec: Callable[[str, Engine], EngineSpec | None]
    find_baseline: FindsBaseline
    show: Callable[[str], None]
    root: Path
    pair: str
    keeps: bool
    writes: Path | None


class QualityProbes:
    """Asks each engine of a run once for each text, and compares what it says for all tests."""

    def __init__(self, means: ProbeMeans) -> None:
        self._means = means
        self._texts: dict[str | None, ProbeText] = {}
        self._known: dict[tuple[object, str, bool], TextNextTokens] = {}
        self._why_not: dict[tuple[object, str, bool], str] = {}

    def assess(self, measurement: Measurement, engines: Sequence[Engine], limits: Sequence[Limit]) -> Measurement:
        """The measurement with the comparisons that its limits ask for; as it is if none does.

        Args:
            measurement: of a test that is over.
            engines: those of the test.
            limits: those of the test.
        """
        if not any(is_comparison(limit) for limit in limits):
            return measurement
        if not measurement.parts:
            asked = [limit for limit in select(limits, measurement.engine) if is_comparison(limit)]
            return self._assess_one(measurement, engines[0] if engines else None, asked)
        scoped = [limit for limit in limits if limit.engine is not None]
        parts = tuple(
            self._assess_one(part, engine, [one for one in select(scoped, part.engine) if is_comparison(one)])
            for part, engine in zip(measurement.parts, engines, strict=False)
        )
        several = NoComparison("the test has several engines: say with engine= which one is limited")
        return replace(measurement, parts=(*parts, *measurement.parts[len(parts) :]), quality=several)

    def _assess_one(self, measurement: Measurement, engine: Engine | None, asked: Sequence[Limit]) -> Measurement:
        if not asked:
            return measurement
        if engine is None:
            return replace(measurement, quality=NoComparison("the test used no engine"))
        if measurement.faults:
            return replace(measurement, quality=NoComparison("its next tokens were not asked for: the test is invalid"))
        try:
            limit = _find_common(asked)
            text = self._read_text(limit.text_file)
            tested = self._ask(engine.spec, text)
            kept = tested if self._means.keeps else None
            found = self._compare(measurement, engine, tested, limit.against, text)
        except (ProbeError, TextError, ReferenceFileError, EngineError) as error:
            return replace(measurement, quality=NoComparison(str(error)))
        finally:
            self._means.show("")
        return replace(measurement, quality=found, next_tokens=kept)

    def _compare(
        self, measurement: Measurement, engine: Engine, tested: TextNextTokens, against: str | None, text: ProbeText
    ) -> QualityComparison | NoComparison:
        against = against or self._means.pair or None
        if against is None:
            baseline = self._means.find_baseline(measurement, text.digest)
            if isinstance(baseline, str):
                return NoComparison(baseline, is_baseline=True)
            return compare(baseline[1], tested, baseline[0])
        spec = self._means.find_spec(against, engine)
        if spec is None:
            return self._compare_with_file(tested, against, text)
        if spec.key == engine.spec.key:  # asked twice, it shows how exactly it repeats itself
            return compare(tested, self._ask(spec, text, again=True), f"{against} itself, asked twice")
        return compare(self._ask(spec, text), tested, against)

    def _compare_with_file(
        self, tested: TextNextTokens, against: str, text: ProbeText
    ) -> QualityComparison | NoComparison:
        path = self._means.root / against
        if self._means.writes is not None and path.resolve() == self._means.writes.resolve():
            return NoComparison(f"{against} is the reference that this run writes", is_baseline=True)
        try:
            content = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return NoComparison(
                f"against={against!r} is neither an engine of this run nor a file: name it with --llm-engine={against}="
                "NAME, or write a reference with --llmperf-save-reference=FILE"
            )
        except (OSError, UnicodeDecodeError) as error:
            return NoComparison(f"the reference {against} cannot be read: {getattr(error, 'strerror', None) or error}")
        found = read_reference(content, against).get(text.digest)
        if found is None:
            return NoComparison(f"the reference {against} was not asked at positions of {text.name}")
        return compare(found, tested, f"{found.engine} in {against}")

    def _read_text(self, asked: str | None) -> ProbeText:
        if asked not in self._texts:
            self._texts[asked] = (
                read_default_text() if asked is None else read_text_file(self._means.root / asked, asked)
            )
        return self._texts[asked]

    def _ask(self, spec: EngineSpec, text: ProbeText, *, again: bool = False) -> TextNextTokens:
        """What an engine says, which is asked for once; with ``again`` what it says when it is asked anew."""
        key = (spec.key, text.digest, again)
        if key in self._why_not:
            raise ProbeError(self._why_not[key])
        if key not in self._known:
            try:
                with self._means.ready(spec) as engine:
                    self._known[key] = probe(
                        engine.endpoint, engine.dialect, text, engine.title, self._tell_progress(engine.title)
                    )
            except (ProbeError, EngineError) as error:
                self._why_not[key] = f"{spec.label}: {error}"
                raise ProbeError(self._why_not[key]) from None
        return self._known[key]

    def _tell_progress(self, title: str) -> Callable[[int, int], None]:
        return lambda done, of: self._means.show(f"{title}: next tokens at {done} of {of} positions")


def _find_common(asked: Sequence[Limit]) -> Limit:
    """The one reference and text that all limits of a test name.

    Raises:
        TextError: they name several.
    """
    named = {(limit.against, limit.text_file) for limit in asked}
    if len(named) > 1:
        written = ", ".join(sorted(f"against={against!r} text={text!r}" for against, text in named))
        raise TextError(f"its quality budgets name several references or texts: {written}; give them one")
    return asked[0]
