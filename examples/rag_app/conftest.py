"""The app, its client, and what each engine needs to embed as well as to chat."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def llm_engine_args():
    return {
        "simulated:script": str(Path(__file__).with_name("script.toml")),
        "llamacpp:pooling": "mean",
    }


@pytest.fixture
def orders():
    """The orders that the app has asked for."""
    return []


@pytest.fixture
def assistant(llm_client, orders):
    openai = pytest.importorskip("openai", reason="needs the client of OpenAI's API: pip install openai")
    import rag

    def find_order(number):
        orders.append(number)
        return f"Order {number} left the shop on Monday."

    with openai.OpenAI(base_url=llm_client.base_url, api_key=llm_client.api_key or "none", max_retries=2) as client:
        yield rag.Assistant(client, llm_client.model, find_order)
