from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineSpec
from pytest_llmperf.engines.lifecycle.identity import Identity, describe_program_file

if TYPE_CHECKING:
    from pathlib import Path


def identity(model: str | None = "m", program: str = "p 1", environ: dict[str, str] | None = None) -> Identity:
    return Identity.of(EngineSpec("fake", model=model), environ or {}, program)


def changes(before: Identity, after: Identity) -> str:
    assert before.asked == after.asked
    return after.changes_since(asdict(before))


def test_the_same_request_gives_the_same_identity() -> None:
    assert identity() == identity()
    assert changes(identity(), identity()) == ""


@pytest.mark.parametrize(
    "other",
    [
        EngineSpec("other", model="m"),
        EngineSpec("fake", model="n"),
        EngineSpec("fake", model="m", args={"ctx": "1"}),
        EngineSpec("fake", model="m", binary="b"),
    ],
)
def test_another_engine_model_argument_or_program_is_asked_for_otherwise(other: EngineSpec) -> None:
    assert Identity.of(other, {}, "p 1").asked != identity().asked


def test_what_engines_read_from_the_environment_counts_and_the_rest_does_not() -> None:
    assert identity(environ={"CUDA_VISIBLE_DEVICES": "1"}).asked != identity(environ={}).asked
    assert identity(environ={"EDITOR": "vi"}) == identity(environ={})


def test_no_value_of_the_environment_is_written_down() -> None:
    assert "secret" not in str(asdict(identity(environ={"HF_TOKEN": "secret"})))


def test_a_model_file_that_was_written_anew_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_text("one", encoding="utf-8")
    before = identity(str(file))
    file.write_text("two!", encoding="utf-8")
    assert changes(before, identity(str(file))) == "its model changed since it was started"


def test_a_file_in_a_model_folder_that_changed_came_or_went_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    before = identity(str(tmp_path))
    assert changes(before, identity(str(tmp_path))) == ""
    (tmp_path / "config.json").write_text("{ }", encoding="utf-8")
    changed = identity(str(tmp_path))
    assert changes(before, changed)
    (tmp_path / "adapter").touch()
    assert changes(changed, identity(str(tmp_path)))


def test_a_model_of_the_hub_that_got_another_commit_is_noticed(tmp_path: Path) -> None:
    environ = {"HF_HOME": str(tmp_path)}
    before = identity("org/name", environ=environ)
    refs = tmp_path / "hub" / "models--org--name" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("0123abc", encoding="utf-8")
    assert changes(before, identity("org/name", environ=environ))


def test_a_path_is_the_same_model_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.gguf").touch()
    monkeypatch.chdir(tmp_path)
    assert identity("m.gguf") == identity(str(tmp_path / "m.gguf"))


def test_another_version_of_the_program_is_noticed_and_all_that_changed_is_said(tmp_path: Path) -> None:
    before, after = identity(program="p 1"), identity(program="p 2")
    assert changes(before, after) == "its program changed since it was started"
    assert after.changes_since({}) == "its model and its program and its plugin changed since it was started"


def test_a_program_that_was_installed_anew_is_another_one(tmp_path: Path) -> None:
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    before = describe_program_file(str(program))
    assert str(program) in before
    os.utime(program, (1, 1))
    assert describe_program_file(str(program)) != before
    assert describe_program_file("no-such-program-anywhere") == ""
