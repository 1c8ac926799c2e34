"""Neither keys nor prompts nor answers of an app reach a log, a report or the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs


def test_nothing_of_what_an_app_says_is_written_anywhere(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        """
        import json, urllib.error, urllib.request
        SLOW = {"simulate": {"ttft": "1 s"}}

        @pytest.mark.latency_budget(e2e_max="1 us")
        @pytest.mark.parametrize("model", ["simulated", "absent"])
        def test_app(llm_client, model):
            body = json.dumps({"model": model, "prompt": "my secret prompt", "max_tokens": 4, **SLOW}).encode()
            headers = {"Authorization": "Bearer sk-my-secret-key-0123456789"}
            url = llm_client.base_url + "/completions?key=my-secret-query"
            try:
                urllib.request.urlopen(urllib.request.Request(url, body, headers)).read()
            except urllib.error.HTTPError as error:
                error.close()
        """,
        *("--llmperf-report=out.json", "--llmperf-report=out.md", "--junitxml=out.xml"),
        *("--log-level=DEBUG", "--log-file=log", "--tb=no", "-rA"),
    )
    result.assert_outcomes(passed=1, failed=1)
    written = [
        path.read_text(encoding="utf-8")
        for path in pytester.path.iterdir()
        if path.suffix in (".json", ".md", ".xml", "") and path.is_file()
    ]
    assert len(written) == 4
    for text in (result.stdout.str(), result.stderr.str(), *written):
        assert "secret" not in text
