"""The command that runs one test again."""

from __future__ import annotations

import shlex

import pytest

from pytest_llmperf.reports.page.command import format_command


@pytest.mark.parametrize(
    ("nodeid", "run", "words"),
    [
        ("test_a.py::test_b", {}, ["pytest", "test_a.py::test_b"]),
        (
            "test_a.py::test_b[it's $HOME; rm]",
            {"options": ["--llm-engine=vllm:a b", "-p", "no:x"]},
            ["pytest", "--llm-engine=vllm:a b", "-p", "no:x", "test_a.py::test_b[it's $HOME; rm]"],
        ),
        ("t/test_a.py::test_b", {"root": "../.."}, ["pytest", "../../t/test_a.py::test_b"]),
        ("test_a.py::test_b[x]@gpu", {"groups": True}, ["pytest", "test_a.py::test_b[x]"]),
        ("test_a.py::test_b@gpu", {"groups": True}, ["pytest", "test_a.py::test_b"]),
        ("test_a.py::test_b[x@y]", {"groups": True}, ["pytest", "test_a.py::test_b[x@y]"]),
        ("test_a.py::test_b[x]@gpu", {}, ["pytest", "test_a.py::test_b[x]@gpu"]),
    ],
)
def test_the_command_is_quoted_and_finds_the_test(nodeid: str, run: dict[str, object], words: list[str]) -> None:
    assert shlex.split(format_command(nodeid, run)) == words


def test_options_of_the_environment_stand_before_the_command() -> None:
    command = format_command("test_a.py::test_b", {"added_options": ["--llm-engine=vllm:a b"], "options": ["-q"]})
    setting, *words = shlex.split(command)
    assert words == ["pytest", "-q", "test_a.py::test_b"]
    name, _, value = setting.partition("=")
    assert (name, shlex.split(value)) == ("PYTEST_ADDOPTS", ["--llm-engine=vllm:a b"])
