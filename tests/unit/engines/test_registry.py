from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.registry import BUILT_IN, EngineRegistry, create
from tests.helpers.fake_engine import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_engine_is_found_by_its_name(name: str) -> None:
    assert EngineRegistry().find(name).name == name


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    known = "vllm, ollama, llamacpp, openai, simulated, fake"
    with pytest.raises(EngineError, match=f"^unknown engine 'gpt': it is one of {known}$"):
        EngineRegistry(lambda: [{"fake": FakeEngine}]).find("gpt")


def test_an_engine_of_a_hook_is_found_made_and_named_last() -> None:
    registry = EngineRegistry(lambda: [{"fake": FakeEngine}])
    assert registry.find("fake") is FakeEngine
    assert registry.names == (*BUILT_IN, "fake")
    engine = registry.create(EngineSpec("fake"))
    assert isinstance(engine, FakeEngine)
    with pytest.raises(EngineError, match="fake takes no arguments"):
        registry.create(EngineSpec("fake", args={"a": "b"}))


class Renamed(FakeEngine):
    """Is not called as it is registered."""

    name = "other"


@pytest.mark.parametrize(
    ("engines", "message"),
    [
        (
            {"vllm": FakeEngine},
            r"the engine 'vllm' of \S+fake_engine:FakeEngine has the name of one of pytest-",
        ),
        (
            {"My:Engine": FakeEngine},
            r"the engine 'My:Engine' of \S+ cannot be named so: a name is of a-z",
        ),
        ({"fake": Renamed}, r"the engine 'fake' of \S+:Renamed has another name: 'other'"),
        ({3: FakeEngine}, r"the engine 3 of \S+ cannot be named so: a name is of a-z"),
        (["fake"], r"pytest_llmperf_engines: \['fake'\] is not a dict from name to class"),
        ({"fake": str}, r"the engine 'fake' of builtins:str is not a subclass of Engine"),
    ],
)
def test_an_engine_that_cannot_be_registered_is_one_line(engines: Any, message: str) -> None:
    with pytest.raises(EngineError, match=f"^{message}") as caught:
        EngineRegistry(lambda: [engines]).find("fake")
    assert "\n" not in str(caught.value)


def test_two_engines_of_one_name_are_refused_with_their_places() -> None:
    with pytest.raises(EngineError, match=r"^two engines are called 'fake': \S+:FakeEngine and \S+:Renamed$"):
        EngineRegistry(lambda: [{"fake": FakeEngine}, {"fake": Renamed}]).find("simulated")


ENGINE = """
from tests.helpers.fake_engine import FakeEngine

class OwnEngine(FakeEngine):
    name = "own"
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, entry_point: str) -> None:
    """A package as pip leaves it, with one module and one entry point."""
    (folder / "own_engine_package.py").write_text(ENGINE, encoding="utf-8")
    (folder / "own_engine-1.0.dist-info").mkdir()
    (folder / "own_engine-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: own-engine\nVersion: 1.0\n", encoding="utf-8"
    )
    text = f"[pytest_llmperf.engines]\n{entry_point}\n"
    (folder / "own_engine-1.0.dist-info" / "entry_points.txt").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "own_engine_package", raising=False)


def test_an_engine_of_an_installed_package_is_imported_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "own = own_engine_package:OwnEngine")
    registry = EngineRegistry()
    assert registry.names == (*BUILT_IN, "own")
    assert "own_engine_package" not in sys.modules
    found = registry.find("own")
    assert (found.name, found.__module__) == ("own", "own_engine_package")
    # A package may register in its own conftest.py as well.
    assert EngineRegistry(lambda: [{"own": found}]).find("own") is found


@pytest.mark.parametrize(
    ("entry_point", "cause"),
    [
        ("own = own_engine_package:Missing", "AttributeError: module 'own_engine_package' has no attribute 'Missing'"),
        ("own = own_engine_nowhere:Own", "ModuleNotFoundError: No module named 'own_engine_nowhere'"),
    ],
)
def test_a_broken_package_is_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry_point: str, cause: str
) -> None:
    install(tmp_path, monkeypatch, entry_point)
    with pytest.raises(EngineError) as caught:
        EngineRegistry().find("own")
    target = entry_point.removeprefix("own = ")
    assert str(caught.value) == f"the engine 'own' of {target} cannot be imported: {cause}"


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("raise SystemExit('not on this system')", "SystemExit: not on this system"),
        ("import pytest; pytest.skip('needs a GPU')", "Skipped: needs a GPU"),
        ("import pytest; pytest.importorskip('no_such_package')", "Skipped: could not import 'no_such_package'.*"),
        ("import pytest; pytest.exit('no')", "Exit: no"),
    ],
)
def test_a_module_that_exits_or_skips_when_it_is_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, cause: str
) -> None:
    install(tmp_path, monkeypatch, "own = own_engine_package:OwnEngine")
    (tmp_path / "own_engine_package.py").write_text(source, encoding="utf-8")
    with pytest.raises(EngineError, match=f"own_engine_package:OwnEngine cannot be imported: {cause}$"):
        EngineRegistry().find("own")


def test_an_import_can_be_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "own = own_engine_package:OwnEngine")
    (tmp_path / "own_engine_package.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        EngineRegistry().find("own")


def test_a_spec_is_checked_before_the_engine_is_made() -> None:
    with pytest.raises(EngineError, match="openai attaches to a running server"):
        create(EngineSpec("openai"))


def test_an_engine_is_made_without_being_started() -> None:
    engine = create(EngineSpec("simulated"))
    assert engine.pids == ()
    assert engine.read_status().reason == "simulated was stopped"


def test_a_spec_is_known_by_what_makes_a_different_server() -> None:
    one = EngineSpec("simulated", args={"a": "1", "b": "2"})
    assert one.key == EngineSpec("simulated", args={"b": "2", "a": "1"}).key
    assert one.key != EngineSpec("simulated", args={"a": "1"}).key
    assert one.key != EngineSpec("simulated", model="m", args=one.args).key


def test_a_label_names_the_model_where_one_was_asked_for() -> None:
    assert EngineSpec("llamacpp").label == "llamacpp"
    assert EngineSpec("llamacpp", model="x.gguf").label == "llamacpp:x.gguf"


def test_an_engine_that_cannot_unload_says_what_to_do_instead() -> None:
    with pytest.raises(EngineError, match=r"openai cannot unload its model .* llm_engine\.restart\(\)"):
        create(EngineSpec("openai", url="http://localhost:1/v1")).unload()
