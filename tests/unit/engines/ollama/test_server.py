"""Which engines share a server of Ollama that is started for them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineSpec
from pytest_llmperf.engines.ollama.server import OllamaServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_server() -> Iterator[None]:
    yield
    OllamaServer._shared.clear()


def find(variant: str = "", **args: str) -> OllamaServer:
    return OllamaServer.of(EngineSpec("ollama", "m", args=args, binary=sys.executable, variant=variant))


def test_two_variants_have_a_server_each_even_with_equal_settings() -> None:
    old, new = find("old"), find("new")
    assert old is not new
    assert find("old") is old
    assert find("new") is new
    assert find("old", num_parallel="2") is not old
    assert find("old", num_parallel="2") is not find("new", num_parallel="2")


def test_an_engine_without_a_label_shares_whatever_runs() -> None:
    old = find("old")
    assert find() is old
    assert find(num_ctx="512") is old
    assert find(num_parallel="2") is not old


def test_an_engine_with_a_label_does_not_share_the_server_of_one_without() -> None:
    assert find() is not find("old")
