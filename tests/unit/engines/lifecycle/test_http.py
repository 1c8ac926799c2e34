from __future__ import annotations

import pytest

from pytest_llmperf.engines.lifecycle import http
from pytest_llmperf.engines.lifecycle.http import http_post
from tests.helpers.scripted_server import ScriptedServer, sized


def test_an_answer_that_takes_too_long_as_a_whole_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(*[[[sized([1, 2])]]] * 2) as scripted:
        assert http_post(scripted.url, {"a": 1}) == b"[1, 2]"
        monkeypatch.setattr(http, "_WHOLE_TIMEOUTS", 0.0)
        with pytest.raises(TimeoutError, match="the answer has no end"):
            http_post(scripted.url, {"a": 1})
