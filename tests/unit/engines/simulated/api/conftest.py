from __future__ import annotations

from typing import TYPE_CHECKING

import openai
import pytest

from tests.helpers.simulated_process import Running, serving
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for all of these tests, without delays."""
    with serving(tmp_path_factory.mktemp("server"), embedding_time="0 ms") as running:
        yield running


@pytest.fixture(scope="package")
def sdk(server: Running) -> Iterator[openai.OpenAI]:
    """The official client of OpenAI's API, which refuses what it cannot read."""
    url = f"http://127.0.0.1:{server.port}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=PATIENCE_S) as client:
        yield client
