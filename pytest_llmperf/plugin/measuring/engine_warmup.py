"""The warm-up of an engine: one request after each start of it, before the first test that is measured on it.

The first request to a fresh engine compiles, fills caches and loads what is loaded lazily. No test counts that request.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.traffic.llm_client import LLMClient, RequestFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.engines.api.engine import Engine

TOKENS = 4
_PROMPT = "Say in one sentence what a lighthouse, a violin and a compass have in common."
_STARTUP = "latency.startup"
_FROM_THE_LEVEL_BEFORE = ("memory.growth", "memory.retained")
# A server without the path of completions may have that of chats, or of embeddings.
_NOT_SERVED = (400, 404, 405, 501)
_END_TIMEOUT = 0.5
_PAUSE = 0.02


class EngineWarmups:
    """Warms up the engines of one pytest process.

    Left alone are servers that ran before, and the engines of a test that measures their start or their first request:
    one that limits ``startup``, or one that has started an engine itself, in a fixture or in its body.

    ``say`` takes a line for each warm-up, ``warn`` one for each that failed. Nothing is sent unless ``is_on``.
    """

    def __init__(self, say: Callable[[str], None], warn: Callable[[str], None], *, is_on: bool) -> None:
        self._say = say
        self._warn = warn
        self._is_on = is_on
        self._started_by_test: set[Engine] = set()

    def begin_test(self) -> None:
        """Begins another test: what it starts from now on is left cold for it."""
        self._started_by_test.clear()

    def note_start(self, engine: Engine) -> None:
        """Takes note that the running test, or one of its fixtures, has started an engine."""
        self._started_by_test.add(engine)

    def warm_up(self, engines: Iterable[Engine], limits: Sequence[Limit]) -> bool:
        """Warms up those engines of a test with these limits that are cold.

        Returns whether memory must settle, because a level of before the test counts and requests have been sent.

        Raises:
            EngineError: an engine ended meanwhile.
        """
        names = {limit.metric for limit in limits}
        if not self._is_on or _STARTUP in names:
            return False
        cold = [engine for engine in engines if engine not in self._started_by_test and _may_be_warmed_up(engine)]
        for engine in cold:
            self._warm_up(engine)
        return bool(cold) and not names.isdisjoint(_FROM_THE_LEVEL_BEFORE)

    def _warm_up(self, engine: Engine) -> None:
        begun = time.monotonic()
        try:
            _ask(engine)
        except (RequestFailed, ValueError) as error:
            engine.note_warmup(None)
            _raise_if_ended(engine)
            why = f"its warm-up request failed, so that its first test may meet it cold: {error}"
            self._warn(f"{engine.title}: {why}; --llmperf-no-engine-warmup leaves it out")
            return
        seconds = time.monotonic() - begun
        engine.note_warmup(seconds)
        self._say(f"{engine.title}: warmed up by one request in {format_value(seconds, SECONDS)}")


def _may_be_warmed_up(engine: Engine) -> bool:
    """Whether it is cold and ready: a request to one that sleeps would wake it, and load a model that was unloaded."""
    return engine.is_cold and engine.read_status().state is EngineState.READY


def _ask(engine: Engine) -> None:
    """Sends a prompt that no test has, to be answered in a few tokens.

    Raises:
        RequestFailed: there was no answer.
        ValueError: it is not a request that this engine takes.
    """
    prompt = f"{_PROMPT} [{secrets.token_hex(4)}]"
    with LLMClient(engine.endpoint, engine.dialect, timeout=engine.spec.startup_timeout) as client:
        settings = {**engine.dialect.full_length, **engine.dialect.warmup, "max_tokens": TOKENS}
        ways: Sequence[Callable[[], object]] = (
            lambda: client.generate(prompt, **settings),
            lambda: client.chat(prompt, **settings),
            lambda: client.embed(prompt),
        )
        failed: RequestFailed | None = None
        for ask in ways:
            try:
                ask()
            except RequestFailed as error:
                if error.timing.status == 200:
                    return  # it has computed; that the answer is no good one is of no matter here
                if error.timing.status not in _NOT_SERVED:
                    raise
                # What a server of texts says of embeddings tells nothing.
                failed = failed if failed is not None and ask is ways[-1] else error
            else:
                return
        assert failed is not None
        raise failed


def _raise_if_ended(engine: Engine) -> None:
    """Raises for an engine that has ended, or does so within a moment.

    Raises:
        EngineError: with the reason, its log, and that it was being warmed up.
    """
    deadline = time.monotonic() + _END_TIMEOUT
    while (status := engine.read_status()).state is not EngineState.ENDED:
        if time.monotonic() > deadline:
            return
        time.sleep(_PAUSE)
    deployment = engine.deployment
    reason = f"{status.reason}, while it was warmed up by its first request"
    raise EngineError(reason, deployment.log_tail(), deployment.keep_log())
