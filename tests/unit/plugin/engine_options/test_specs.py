"""From the options to the engines of a run: labels, and whose program, server and settings each is."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.registry import EngineRegistry
from pytest_llmperf.plugin.engine_options.specs import choose_arguments, choose_program, parse_engine, read_specs

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.spec import EngineSpec

NONE: Any = MappingProxyType(
    {"llm_engine": (), "llmperf_model": None, "llmperf_url": (), "llmperf_engine_arg": (), "llmperf_engine_bin": ()}
)


def read(*engines: str, **values: Any) -> tuple[EngineSpec, ...]:
    return read_specs({**NONE, "llm_engine": engines, **values}, {}, EngineRegistry())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("vllm", ("", "vllm", "")),
        ("ollama:qwen3:0.6b", ("", "ollama", "qwen3:0.6b")),
        ("old=vllm", ("old", "vllm", "")),
        ("v0.31_a-b=vllm:Qwen/Qwen3-0.6B", ("v0.31_a-b", "vllm", "Qwen/Qwen3-0.6B")),
        ("vllm:/models/a=b", ("", "vllm", "/models/a=b")),
        ("new=vllm:/models/a=b", ("new", "vllm", "/models/a=b")),
    ],
)
def test_a_label_stands_before_the_engine(text: str, parts: tuple[str, str, str]) -> None:
    assert parse_engine(text) == parts


REFUSED = {
    "a space": (["a b=vllm"], "--llm-engine=a b=vllm: the label 'a b' is not of letters, digits, "),
    "no label": (["=vllm"], "--llm-engine==vllm: the label '' is not of letters"),
    "a sign in front": (["-a=vllm"], "the label '-a' is not of letters, digits, "),
    "a long text": ([f"{'a' * 65}=vllm"], "is not of letters, digits, '-', '_' and '.', 64 at most, the first "),
    "a folder": (["a/b=vllm"], "the label 'a/b' is not of letters, digits, "),
    "no engine": (["old"], "unknown engine 'old': it is one of vllm, "),
    "an unknown engine": (["old=vlm"], "old: unknown engine 'vlm': it is one of vllm, "),
    "a label twice": (["a=simulated:x", "a=simulated:y"], "--llm-engine=a=simulated:y: the label 'a' is given twice"),
    "an engine twice": (
        ["simulated", "simulated"],
        "--llm-engine=simulated is given twice: to run simulated with several settings, programs or servers, give each "
        "a label of its own, --llm-engine=LABEL=simulated",
    ),
    "two files of one name": (
        ["simulated:/a/m.gguf", "simulated:/b/m.gguf"],
        "--llm-engine=simulated:/b/m.gguf is given twice: to run simulated:m.gguf with several ",
    ),
    "the name of another engine": (
        ["vllm=simulated"],
        "--llm-engine=vllm=simulated: the label 'vllm' is the name of an engine",
    ),
    "the name of an engine that comes after": (
        ["simulated=simulated:a", "new=simulated:b"],
        "--llm-engine=new=simulated:b: 'simulated' would be the label of one engine of this run and the",
    ),
    "the name of an engine that came before": (
        ["simulated:a", "simulated=simulated:b"],
        "--llm-engine=simulated=simulated:b: 'simulated' would be the label of one engine of this run",
    ),
}


@pytest.mark.parametrize(("engines", "message"), REFUSED.values(), ids=list(REFUSED))
def test_engines_that_cannot_be_told_apart_are_refused(engines: list[str], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(*engines)
    assert message in str(caught.value)


def test_an_engine_may_have_its_own_name_as_a_label() -> None:
    (spec,) = read("simulated=simulated:a")
    assert (spec.variant, spec.label) == ("simulated", "simulated")


def test_each_variant_has_its_own_settings_and_all_have_the_common_ones() -> None:
    texts = (
        "old:ttft=1 s",
        "simulated:ttft=2 s",
        "ttft=3 s",
        "simulated:tpot=1 ms",
        "tpot=2 ms",
        "slots=8",
        "vllm:a=1",
    )
    old, new = read("old=simulated", "new=simulated:m", llmperf_engine_arg=texts)
    assert old.args == {"ttft": "1 s", "tpot": "1 ms", "slots": "8"}
    assert new.args == {"ttft": "2 s", "tpot": "1 ms", "slots": "8"}
    assert (old.model, new.model) == (None, "m")


def test_of_several_values_for_one_engine_the_last_counts() -> None:
    assert choose_arguments(["a=1", "a=2", "vllm:b=1", "vllm:b=2", "new:c=1", "new:c=x=2"], "vllm", "new") == {
        "a": "2",
        "b": "2",
        "c": "x=2",
    }


def test_each_variant_has_its_own_server() -> None:
    urls = ("old:http://h:1/v1", "http://h:2", "OPENAI:http://h:4")
    old, new, plain = read("old=openai", "new=openai", "vllm", llmperf_url=(*urls, "openai:https://h:3?a=b:c"))
    assert (old.url, new.url, plain.url) == ("http://h:1/v1", "https://h:3?a=b:c", "http://h:2")


def test_two_variants_may_use_one_server() -> None:
    old, new = read("old=openai", "new=openai", llmperf_url=("http://h:1",))
    assert old.url == new.url == "http://h:1"


@pytest.mark.parametrize("url", ["host:8000", "localhost", "ftp://h:1", "old:h:1"])
def test_what_is_no_url_is_refused_in_full(url: str) -> None:
    with pytest.raises(ValueError, match=f"^old: --llmperf-url='{url}' is not an address: write http://HOST:PORT"):
        read("old=openai", llmperf_url=(url,))


def test_each_variant_has_its_own_program() -> None:
    texts = ["/bin/any", "old:/bin/old", "vllm:/bin/vllm", "vllm:/bin/later"]
    assert choose_program(texts, "vllm", "old") == "/bin/old"
    assert choose_program(texts, "vllm", "new") == "/bin/later"
    assert choose_program(texts, "vllm") == "/bin/later"
    assert choose_program(texts, "ollama") == "/bin/any"
    assert choose_program(texts, "ollama", only_own=True) is None
    assert choose_program(["/odd:folder/vllm"], "vllm") == "/odd:folder/vllm"
    assert choose_program([], "vllm") is None


def test_a_label_that_is_misspelled_is_mentioned_where_an_engine_lacks_something() -> None:
    with pytest.raises(
        ValueError, match=r"^new: openai attaches .* \(--llmperf-url=nwe:http://h:2 is for no engine of"
    ) as caught:
        read("old=openai", "new=openai", llmperf_url=("old:http://h:1", "nwe:http://h:2", "vllm:http://h:3"))
    assert "http://h:1" not in str(caught.value)


def test_what_an_engine_refuses_of_a_variant_names_the_variant() -> None:
    with pytest.raises(ValueError, match=r"^new: simulated .*--llmperf-url"):
        read("old=simulated", "new=simulated", llmperf_url=("new:http://h:1",))
