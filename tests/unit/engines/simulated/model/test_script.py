from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.simulated.model.script import ScriptError, read_script

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = r"""
[[answer]]
pattern = "(?i)refund"
times = 1
status = 429
message = "slow down"
retry_after = "1"

[[answer]]
pattern = "(?i)refund"
text = "Within thirty days."
ttft = "300 ms"
cut_after = 3

[[answer]]
pattern = "weather in (Oslo|Bergen)"
role = "user"
path = "/chat/completions"
reasoning = "Where?"
tool_calls = [{ name = "look_up", arguments = { city = "Oslo" } }, { name = "broken", arguments = "{" }]

[[answer]]
pattern = "as data"
json = { city = "Zürich", days = [1, 2] }
"""
CHAT = "/v1/chat/completions"


def write(tmp_path: Path, content: str, name: str = "script.toml") -> str:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_the_first_answer_that_fits_and_is_not_used_up_is_taken(tmp_path: Path) -> None:
    script = read_script(write(tmp_path, SCRIPT))
    first, second, third = (script.take(CHAT, "user", "A refund?") for _ in range(3))
    assert first is not None
    assert (first.status, first.message, first.retry_after) == (429, "slow down", "1")
    assert second is third
    assert second is not None
    script.restart()
    assert script.take(CHAT, "user", "A refund?") is first
    assert (second.text, second.settings) == ("Within thirty days.", {"ttft": 0.3, "cut_after": 3})


@pytest.mark.parametrize(
    ("path", "role", "text", "found"),
    [
        (CHAT, "user", "the weather in Oslo today", True),
        (CHAT, "user", "the weather in Rome", False),
        (CHAT, "tool", "the weather in Oslo today", False),
        ("/v1/messages", "user", "the weather in Oslo today", False),
    ],
)
def test_role_and_path_tell_requests_apart(tmp_path: Path, path: str, role: str, text: str, found: bool) -> None:
    answer = read_script(write(tmp_path, SCRIPT)).take(path, role, text)
    assert (answer is not None) == found
    if answer is not None:
        assert answer.reasoning == "Where?"
        assert [(call.name, call.arguments) for call in answer.tool_calls] == [
            ("look_up", '{"city": "Oslo"}'),
            ("broken", "{"),
        ]


def test_an_answer_may_be_data(tmp_path: Path) -> None:
    answer = read_script(write(tmp_path, SCRIPT)).take(CHAT, "user", "as data")
    assert answer is not None
    assert json.loads(answer.text) == {"city": "Zürich", "days": [1, 2]}


def test_a_script_may_be_json_and_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    content = "\ufeff" + json.dumps({"answer": [{"pattern": "a", "text": "b"}]})
    answer = read_script(write(tmp_path, content, "script.json")).take(CHAT, "user", "a")
    assert answer is not None
    assert answer.text == "b"


def test_without_a_file_there_is_no_answer() -> None:
    assert read_script("").take(CHAT, "user", "a") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no list of answers"),
        ("answer = 1", "is no list of answers"),
        ("[[answers]]\npattern='a'", "is no list of answers"),
        ("[[answer]\n", "cannot be read: "),
        ("answer = [1]", "answer 1 is not a table"),
        ("[[answer]]\npatern = 'a'", "answer 1: unknown key 'patern'; it takes pattern, role, path, times, text"),
        ("[[answer]]\npattern = '('", "answer 1: 'pattern' is no regular expression"),
        ("[[answer]]\npattern = 1", "answer 1: 'pattern' is not a text"),
        ("[[answer]]\nrole = 'bot'", "answer 1: 'role' is 'bot'; it is one of user, tool, assistant, system"),
        ("[[answer]]\ntimes = 0", "answer 1: 'times' is not a whole number from 1"),
        ("[[answer]]\nstatus = 200", "answer 1: 'status' is not a whole number from 400 to 599"),
        ("[[answer]]\nstatus = 500\ntext = 'a'", "answer 1: 'status' makes it a refusal, which has no text"),
        ("[[answer]]\nmessage = 'a'", "answer 1: 'message' and 'retry_after' belong to a refusal"),
        ("[[answer]]\ntext = 'a'\njson = 1", "answer 1: 'text' and 'json' are both what it says"),
        ("[[answer]]\ntool_calls = 1", "answer 1: 'tool_calls' is not a list"),
        ("[[answer]]\ntool_calls = [{arguments = {}}]", "answer 1: each of 'tool_calls' has a name"),
        ("[[answer]]\n[[answer]]\nttft = '9'", "answer 2: ttft='9' has no unit"),
        ("[[answer]]\nslots = 3", "answer 1: unknown key 'slots'"),
    ],
)
def test_a_script_that_is_not_understood_is_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ScriptError) as caught:
        read_script(path)
    assert str(caught.value).startswith(f"script={path!r}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"script='.*none\.toml' cannot be read"):
        read_script(str(tmp_path / "none.toml"))


def test_settings_of_an_answer_have_their_units(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"pattern": "", "tokens_per_chunk": 4, "role_chunk": False, "stall": "1 s"}
    script = read_script(write(tmp_path, json.dumps({"answer": [settings]}), "script.json"))
    answer = script.take(CHAT, "user", "anything")
    assert answer is not None
    assert answer.settings == {"tokens_per_chunk": 4, "role_chunk": False, "stall": 1.0}
