"""An app that speaks Ollama's own protocol: through llm_client.base_url, less the /v1, its calls are the test's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.ollama.conftest import OllamaRuns


def test_its_calls_are_measured_streamed_or_not(ollama: OllamaRuns) -> None:
    result = ollama(
        """
        import json, subprocess, sys

        APP = '''
        import json, sys, urllib.request
        for path, body in json.load(sys.stdin):
            urllib.request.urlopen(urllib.request.Request(sys.argv[1] + path, json.dumps(body).encode())).read()
        '''.replace("\\n        ", "\\n")

        @pytest.mark.throughput_budget(output="0.0001 tok/s")
        @pytest.mark.latency_budget(ttft_max="60 s", e2e_max="60 s")
        def test_app(llm_client, llm_perf):
            body = {"model": llm_client.model, "options": {"num_predict": 4}}
            chat = {**body, "messages": [{"role": "user", "content": "Hello"}]}
            calls = [
                ("/api/generate", {"model": llm_client.model}),
                ("/api/generate", {**body, "prompt": "Hello"}),
                ("/api/chat", chat),
                ("/api/chat", {**chat, "stream": False}),
                ("/api/show", {"model": llm_client.model}),
            ]
            command = [sys.executable, "-c", APP, llm_client.base_url.removesuffix("/v1")]
            subprocess.run(command, input=json.dumps(calls), text=True, check=True)
            requests = llm_perf.measurement.requests
            assert [r.error for r in requests] == [None] * 3
            assert [(r.output_tokens, len(r.chunks)) for r in requests] == [(4, 4), (4, 4), (4, 0)]
        """
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["budgets: 3 PASS"])


def test_the_ollama_package_is_measured_as_it_is(ollama: OllamaRuns) -> None:
    pytest.importorskip("ollama")
    result = ollama(
        """
        import ollama

        def test_app(llm_client, llm_perf):
            with ollama.Client(host=llm_client.base_url.removesuffix("/v1")) as app:
                assert llm_client.model in [model.model for model in app.list().models]
                options = {"num_predict": 4}
                pieces = list(app.generate(llm_client.model, "Hello", stream=True, options=options))
                assert pieces[-1].eval_count == 4
                messages = [{"role": "user", "content": "Hello"}]
                assert app.chat(llm_client.model, messages, options=options).eval_count == 4
            requests = llm_perf.measurement.requests
            assert [(r.streamed, r.output_tokens, r.error) for r in requests] == [(True, 4, None), (False, 4, None)]
        """
    )
    result.assert_outcomes(passed=1)
