"""A task of lm-evaluation-harness, limited beside latency: ``pip install 'lm-eval[api]'``, which needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_llmperf import LLMClient, LLMPerf

lm_eval = pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness: pip install 'lm-eval[api]'")
HERE = Path(__file__).parent


@pytest.mark.quality_budget(accuracy="0.3")
@pytest.mark.latency_budget(e2e_max="20 s")
def test_capitals(llm_client: LLMClient, llm_perf: LLMPerf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)  # the task names its data from there
    found = lm_eval.simple_evaluate(
        model="local-completions",
        model_args={
            "base_url": f"{llm_client.base_url}/completions",
            "model": llm_client.model,
            "tokenizer_backend": None,
            "tokenized_requests": False,
            "max_retries": 1,
        },
        tasks=["capitals"],
        task_manager=lm_eval.tasks.TaskManager(include_path=str(HERE), include_defaults=False),
        bootstrap_iters=0,
    )
    answers = found["n-samples"]["capitals"]["effective"]
    llm_perf.quality("accuracy", found["results"]["capitals"]["exact_match,none"], samples=answers)
