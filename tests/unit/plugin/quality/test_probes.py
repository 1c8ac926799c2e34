"""Each engine is asked once for each text, and what it is compared with is found, or the reason is said."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_llmperf.budgets.limit import Limit, parse_limits
from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.quality.comparison import NoComparison, QualityComparison
from pytest_llmperf.measurement.quality.next_tokens import NextTokens, TextNextTokens
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.plugin.quality import probes
from pytest_llmperf.plugin.quality.probes import ProbeMeans, QualityProbes
from pytest_llmperf.quality.probe import ProbeError
from pytest_llmperf.quality.reference import next_tokens_to_wire, write_reference
from pytest_llmperf.quality.text import ProbeText, read_default_text

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_llmperf.engines.api.engine import Engine

WINDOW = Window(0, 1)
SAME = NextTokens(3, {"a": -0.5, "b": -1.5})


@dataclass
class Asked:
    """An engine that says what it is told to, and counts how often it is asked."""

    label: str
    says: NextTokens = SAME
    fault: str = ""
    times: int = 0
    endpoint: Any = None
    dialect: Any = None

    @property
    def spec(self) -> EngineSpec:
        return EngineSpec("simulated", variant=self.label)

    @property
    def title(self) -> str:
        return self.label


@dataclass
class World:
    """The engines of a run, and what stands in the store."""

    engines: dict[str, Asked]
    root: Path
    baseline: tuple[str, TextNextTokens] | str = "no run is stored"
    pair: str = ""
    keeps: bool = False
    writes: Path | None = None
    started: list[str] = field(default_factory=list)

    def ready(self, spec: EngineSpec) -> AbstractContextManager[Engine]:
        self.started.append(spec.variant)
        return nullcontext(cast("Engine", self.engines[spec.variant]))

    def find(self, label: str, _: Engine) -> EngineSpec | None:
        return self.engines[label].spec if label in self.engines else None

    @property
    def probes(self) -> QualityProbes:
        return QualityProbes(
            ProbeMeans(
                self.ready,
                self.find,
                lambda measurement, text: self.baseline,
                lambda line: None,
                self.root,
                self.pair,
                keeps=self.keeps,
                writes=self.writes,
            )
        )


def say(engine: Asked, text: ProbeText) -> TextNextTokens:
    passages = tuple(tuple(engine.says for _ in contexts) for contexts in text.contexts)
    return TextNextTokens(text.digest, text.name, engine.label, (1,), passages)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World({"q8": Asked("q8"), "q4": Asked("q4", NextTokens(3, {"b": -0.5, "a": -1.5}))}, tmp_path)

    def probe(endpoint: object, dialect: object, text: ProbeText, title: str, progress: object) -> TextNextTokens:
        engine = made.engines[title]
        engine.times += 1
        if engine.fault:
            raise ProbeError(engine.fault)
        return say(engine, text)

    monkeypatch.setattr(probes, "probe", probe)
    return made


def limits(**arguments: object) -> list[Limit]:
    return parse_limits("quality", {"kl": "1 nat", **arguments}, "test")


def assess(world: World, asked: list[Limit], *, by: QualityProbes | None = None, on: str = "q4") -> Measurement:
    engine = cast("Engine", world.engines[on])
    return (by or world.probes).assess(Measurement(WINDOW), [engine], asked)


def test_an_engine_of_the_run_is_asked_once_for_all_tests(world: World) -> None:
    by = world.probes
    for _ in range(3):
        found = assess(world, limits(against="q8"), by=by).quality
        assert isinstance(found, QualityComparison)
        assert (found.reference, found.agreement, found.count) == ("q8", 0.0, 96)
    assert [engine.times for engine in world.engines.values()] == [1, 1]


def test_an_engine_that_is_its_own_reference_is_asked_twice(world: World) -> None:
    found = assess(world, limits(against="q8"), on="q8").quality
    assert isinstance(found, QualityComparison)
    assert (found.reference, found.is_identical, found.mean_divergence) == ("q8 itself, asked twice", True, 0.0)
    assert world.engines["q8"].times == 2


def test_scores_alone_ask_no_engine(world: World) -> None:
    found = assess(world, parse_limits("quality", {"accuracy": "0.8"}, "test"))
    assert found == Measurement(WINDOW)
    assert world.started == []


def test_without_a_name_it_is_the_store_or_the_other_engine_of_an_ab(world: World) -> None:
    missing = assess(world, limits()).quality
    assert missing == NoComparison("no run is stored", is_baseline=True)
    world.baseline = ("run 7 of main", say(world.engines["q8"], read_default_text()))
    found = assess(world, limits()).quality
    assert isinstance(found, QualityComparison)
    assert found.reference == "run 7 of main"
    world.pair = "q4"
    found = assess(world, limits()).quality
    assert isinstance(found, QualityComparison)
    assert found.is_identical


def test_a_reference_file_is_read_from_the_root_folder(world: World) -> None:
    wire = {"fingerprint": "f", **next_tokens_to_wire(say(world.engines["q8"], read_default_text()))}
    (world.root / "ref.json").write_text(write_reference([wire]), encoding="utf-8")
    found = assess(world, limits(against="ref.json")).quality
    assert isinstance(found, QualityComparison)
    assert found.reference == "q8 in ref.json"
    (world.root / "mine.txt").write_text(" ".join(f"word{n}" for n in range(400)), encoding="utf-8")
    other = assess(world, limits(against="ref.json", text="mine.txt")).quality
    assert other == NoComparison("the reference ref.json was not asked at positions of mine.txt")


def test_the_file_that_the_run_is_to_write_is_a_baseline_that_is_missing_yet(world: World) -> None:
    world.writes = world.root / "ref.json"
    found = assess(world, limits(against="ref.json")).quality
    assert found == NoComparison("ref.json is the reference that this run writes", is_baseline=True)


def test_what_the_engine_says_is_kept_only_where_the_run_is_saved(world: World) -> None:
    assert assess(world, limits(against="q8")).next_tokens is None
    world.keeps = True
    kept = assess(world, limits(against="q8")).next_tokens
    assert kept is not None
    assert kept.engine == "q4"


def why_not(world: World, asked: list[Limit]) -> str:
    found = assess(world, asked).quality
    assert isinstance(found, NoComparison)
    assert "\n" not in found.reason
    return found.reason


def test_what_cannot_be_compared_says_why_in_one_line(world: World) -> None:
    (world.root / "bad.json").write_text("{}", encoding="utf-8")
    assert "neither an engine of this run nor a file" in why_not(world, limits(against="q2"))
    assert "bad.json is no reference" in why_not(world, limits(against="bad.json"))
    assert "gone.txt cannot be read" in why_not(world, limits(against="q8", text="gone.txt"))
    several = [*limits(against="q8"), *parse_limits("quality", {"agreement": "1 %", "against": "ref.json"}, "test")]
    assert "name several references or texts" in why_not(world, several)
    invalid = world.probes.assess(replace(Measurement(WINDOW), faults=("it ended",)), [], limits())
    assert isinstance(invalid.quality, NoComparison)
    world.engines["q8"].fault = "the engine states no log-probabilities"
    by = world.probes
    for _ in range(2):
        found = assess(world, limits(against="q8"), by=by).quality
        assert isinstance(found, NoComparison)
        assert found.reason.endswith("the engine states no log-probabilities")
    assert world.engines["q8"].times == 1


def test_a_reference_engine_that_does_not_start_is_a_reason_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(spec: EngineSpec) -> AbstractContextManager[Engine]:
        if spec.variant == "q8":
            raise EngineError("no memory is left")
        return nullcontext(cast("Engine", world.engines[spec.variant]))

    monkeypatch.setattr(world, "ready", refuse)
    assert why_not(world, limits(against="q8")).endswith("no memory is left")


def test_of_several_engines_each_limit_names_its_own(world: World) -> None:
    engines = [cast("Engine", engine) for engine in world.engines.values()]
    whole = Measurement(WINDOW, parts=(Measurement(WINDOW, label="q8"), Measurement(WINDOW, label="q4")))
    found = world.probes.assess(whole, engines, limits(against="q8", engine="q4"))
    assert isinstance(found.quality, NoComparison)
    assert "say with engine= which one is limited" in found.quality.reason
    assert all(isinstance(part.quality, QualityComparison) for part in found.parts)
