"""The client of a test: it asks a model, by default over the OpenAI API, and times the answers at the socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, overload

from pytest_llmperf.measurement.units import SECONDS, check_count, parse
from pytest_llmperf.traffic.capacity.options import parse_options
from pytest_llmperf.traffic.capacity.runner import CurveRunner
from pytest_llmperf.traffic.client.api import HttpApi
from pytest_llmperf.traffic.client.arguments import OWN, check_words
from pytest_llmperf.traffic.client.dialect import NO_ADDRESS, OPENAI
from pytest_llmperf.traffic.client.http import HttpTransport, open_transport
from pytest_llmperf.traffic.client.inputs import Embeddings, Ranking, embedding, rank
from pytest_llmperf.traffic.client.listener import SILENT
from pytest_llmperf.traffic.client.posts import DEFAULT_TOKENS, completion, conversation
from pytest_llmperf.traffic.client.request import RequestFailed
from pytest_llmperf.traffic.client.transport import create_call
from pytest_llmperf.traffic.load.runner import LoadRunner
from pytest_llmperf.traffic.load.schedule import OPTION_NAMES, ScheduleOptions, parse_schedule
from pytest_llmperf.traffic.workloads.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from pytest_llmperf.measurement.capacity.result import CapacityResult, SweepResult
    from pytest_llmperf.traffic.answers.answer import Answer
    from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
    from pytest_llmperf.traffic.client.listener import Cancelling, ClientListener
    from pytest_llmperf.traffic.client.posts import Messages
    from pytest_llmperf.traffic.client.request import Post
    from pytest_llmperf.traffic.client.transport import Transport
    from pytest_llmperf.traffic.load.result import LoadResult

__all__ = ["LLMClient", "RequestFailed"]

_SEARCH = ("start", "lowest", "highest", "precision", "until", "max_seconds", "max_requests", "max_error_rate")
"""The arguments of ``capacity`` that say how it searches."""


class LLMClient:
    """Asks one model and times its answers.

    ``endpoint`` is where it is asked and ``dialect`` how, both as its engine gives them. ``listener`` is told of
    requests and loads. ``timeout`` (seconds) bounds the connecting and every single silence of the server, not the
    whole answer. ``app_url`` returns the address for an app under test; None for that of the endpoint.

    The argument ``share_prefix=True`` of a call lets its prompt come from the server's prefix cache; by default it is
    computed afresh if the dialect can say so. ``headers`` and ``timeout`` (seconds, or a text such as ``"30 s"``) are
    those of one call. ``max_tokens``, ``temperature`` and ``stream_options`` are left out of the body if they are None;
    ``max_completion_tokens`` takes the place of ``max_tokens``. Words that are misspelled or that mean something else
    to another client are refused; ``extra_body`` is a dict of fields that are sent unchecked.

    The blocking calls keep their connections and may come from several threads; each asynchronous call opens one
    of its own, whose connecting is part of its latency.

    Raises:
        ValueError: the endpoint is not the URL of a server, or its key cannot be sent in a header.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        dialect: Dialect = OPENAI,
        *,
        listener: ClientListener = SILENT,
        timeout: float = 120.0,
        app_url: Callable[[], str] | None = None,
    ) -> None:
        self._timeout = timeout
        self._app_url = app_url
        self._lock = threading.Lock()
        self._aim(endpoint, dialect, listener)

    def _aim(self, endpoint: Endpoint, dialect: Dialect, listener: ClientListener) -> None:
        if not (endpoint.api_key.isascii() and endpoint.api_key.isprintable()):
            raise ValueError("api_key holds characters that a header cannot carry, such as a line break")
        self._endpoint = endpoint = replace(endpoint, base_url=endpoint.base_url.rstrip("/"))
        self._dialect = dialect
        self._listener = listener
        self._transport = open_transport(endpoint, dialect, self._timeout)
        self._transport_of_inputs: HttpTransport | None = None
        in_process = None if dialect.transport is None else self._transport
        self._loads = LoadRunner(endpoint, dialect, listener, self._timeout, in_process)

    def retarget(self, endpoint: Endpoint, dialect: Dialect, listener: ClientListener) -> None:
        """Asks another model from now on; the address for apps stays the same. No request may be on its way.

        Raises:
            ValueError: as for a new client.
        """
        self.close()
        self._aim(endpoint, dialect, listener)

    @property
    def model(self) -> str:
        """The name that requests give the model."""
        return self._endpoint.model

    @property
    def api_key(self) -> str:
        """The key for the app under test; empty if the server asks for none."""
        return self._endpoint.api_key

    @property
    def base_url(self) -> str:
        """The address of the OpenAI API, for the app under test: what it asks there is measured as the test's own.

        Raises:
            RuntimeError: the engine has none.
            RelayError: the relay that measures the app's calls cannot be started.
        """
        if not self._endpoint.base_url:
            raise RuntimeError(NO_ADDRESS)
        return self._endpoint.base_url if self._app_url is None else self._app_url()

    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int | None = DEFAULT_TOKENS,
        temperature: float | None = 0.0,
        stream: bool = True,
        headers: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        **extra: Any,
    ) -> Answer:
        """Completes a text (``POST /completions``); ``extra`` goes into the body as it is.

        Raises:
            RequestFailed: there is no complete answer.
            ValueError: an argument that cannot be measured.
        """
        settings = _settings(max_tokens, temperature, stream, headers, timeout, extra)
        return self._ask(completion(self._endpoint, self._dialect, prompt, settings))

    def chat(
        self,
        messages: Messages,
        *,
        max_tokens: int | None = DEFAULT_TOKENS,
        temperature: float | None = 0.0,
        stream: bool = True,
        headers: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        **extra: Any,
    ) -> Answer:
        """Answers a conversation (``POST /chat/completions``); a string is one message of the user.

        Raises:
            RequestFailed: there is no complete answer.
            ValueError: an argument that cannot be measured.
        """
        settings = _settings(max_tokens, temperature, stream, headers, timeout, extra)
        return self._ask(conversation(self._endpoint, self._dialect, messages, settings))

    async def agenerate(
        self,
        prompt: str,
        *,
        max_tokens: int | None = DEFAULT_TOKENS,
        temperature: float | None = 0.0,
        stream: bool = True,
        headers: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        **extra: Any,
    ) -> Answer:
        """As :meth:`generate`, in the running event loop; cancelling it closes the connection."""
        settings = _settings(max_tokens, temperature, stream, headers, timeout, extra)
        return await self._aask(completion(self._endpoint, self._dialect, prompt, settings))

    async def achat(
        self,
        messages: Messages,
        *,
        max_tokens: int | None = DEFAULT_TOKENS,
        temperature: float | None = 0.0,
        stream: bool = True,
        headers: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        **extra: Any,
    ) -> Answer:
        """As :meth:`chat`, in the running event loop; cancelling it closes the connection."""
        settings = _settings(max_tokens, temperature, stream, headers, timeout, extra)
        return await self._aask(conversation(self._endpoint, self._dialect, messages, settings))

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        **extra: Any,
    ) -> Embeddings:
        """Embeds one text or several (``POST /embeddings``); ``extra`` goes into the body as it is.

        Raises:
            RequestFailed: there is no vector for each text.
            ValueError: an argument that cannot be sent, or an engine that is not asked over HTTP.
        """
        settings = {"headers": headers, "timeout": timeout, **extra}
        return Embeddings.of(self._ask(embedding(self._endpoint, texts, settings)))

    async def aembed(
        self,
        texts: str | Sequence[str],
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        **extra: Any,
    ) -> Embeddings:
        """As :meth:`embed`, in the running event loop; cancelling it closes the connection."""
        settings = {"headers": headers, "timeout": timeout, **extra}
        return Embeddings.of(await self._aask(embedding(self._endpoint, texts, settings)))

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        top_n: int | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        **extra: Any,
    ) -> Ranking:
        """Scores documents by how well they fit a query (``POST /rerank``), all of them or the best ``top_n``.

        Raises:
            RequestFailed: there are fewer scores than asked for.
            ValueError: as for :meth:`embed`.
        """
        settings = {"headers": headers, "timeout": timeout, **extra}
        answer = self._ask(rank(self._endpoint, query, documents, top_n, settings))
        return Ranking.of(answer, len(documents))

    async def arerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        top_n: int | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        **extra: Any,
    ) -> Ranking:
        """As :meth:`rerank`, in the running event loop; cancelling it closes the connection."""
        settings = {"headers": headers, "timeout": timeout, **extra}
        answer = await self._aask(rank(self._endpoint, query, documents, top_n, settings))
        return Ranking.of(answer, len(documents))

    @overload
    def run(
        self,
        prompts: Sequence[Messages],
        *,
        concurrency: int = 1,
        max_tokens: int | None = DEFAULT_TOKENS,
        temperature: float | None = 0.0,
        stream: bool = True,
        headers: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        chat: bool = False,
        **extra: Any,
    ) -> list[Answer]: ...
    @overload
    def run(
        self,
        prompts: Workload,
        *,
        concurrency: int | None = None,
        rate: str | None = None,
        arrival: str = "poisson",
        burstiness: float = 1.0,
        duration: str | None = None,
        ramp: str = "0 s",
        warmup: int | str = 0,
        cooldown: int | str = 0,
        max_error_rate: str = "0 %",
        until: Literal["decided"] | None = None,
        max_requests: int | None = None,
        temperature: float | None = 0.0,
        stream: bool = True,
        headers: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        **extra: Any,
    ) -> LoadResult: ...
    def run(self, prompts: Sequence[Messages] | Workload, **arguments: Any) -> list[Answer] | LoadResult:
        """All prompts, ``concurrency`` of them in flight at a time (a closed loop); or a load, sent by another process.

        A list of prompts gives the answers in their order. It may be called from within a running event loop, which
        then waits. The answers are taken apart after the last has come, so that this work delays no stamp.

        A workload is sent at a ``rate`` such as ``"50/s"`` (an open loop: latencies count from the scheduled moment),
        or with ``concurrency``, or at the times of its trace. ``arrival`` is ``"poisson"`` or ``"constant"``; a
        ``burstiness`` below 1 makes bursts. It ends with the last request, after ``duration``, or when more than
        ``max_error_rate`` of the requests failed, which is also what it tolerates. Neither the ``ramp``, in which rate
        or concurrency rise, nor ``warmup`` and ``cooldown`` (a time, or a number of requests) are judged; all three
        are parts of the duration and of the requests.

        With ``until="decided"`` the workload grows: it is sent again and again, each time with other requests of the
        same mix (lists of prompts with the same prompts), until each budget of the test that it can decide is decided,
        or one is broken. It ends undecided with ``max_requests``, or with the allowance of the test,
        ``--llmperf-max-rounds`` and ``--llmperf-max-seconds``. All of it is one load.

        The result has timings, and no texts. With ``max_tokens=None`` the lengths of the answers are sent as
        ``max_completion_tokens``.

        Raises:
            RequestFailed: for the first prompt without a complete answer, after all have ended; under load, when more
                requests failed than tolerated.
            LoadClientDied: the process that sends a load ended.
            ValueError: an argument that cannot be measured; nothing has been sent then.
        """
        if isinstance(prompts, Workload):
            return self._run_workload(prompts, **arguments)
        return self._run_prompts(prompts, **arguments)

    def capacity(
        self,
        workload: Workload,
        *,
        start: str | None = None,
        lowest: str | None = None,
        highest: str | None = None,
        precision: str = "5 %",
        until: Literal["decided"] | None = None,
        max_seconds: float = 600.0,
        max_requests: int | None = None,
        max_error_rate: str = "0 %",
        temperature: float | None = 0.0,
        stream: bool = True,
        headers: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        **extra: Any,
    ) -> CapacityResult:
        """Searches for the highest Poisson rate at which every latency limit of the test holds.

        It begins with single requests, doubles the rate until a limit is broken, and stays near the knee until the rate
        is known to ``precision``. Each step ends with the last answer, so that the next one finds an empty queue. It
        never ends without a bound of its time: after ``max_seconds``, or ``max_requests``, it gives what it knows.
        ``throughput_budget(sustained="8 req/s")`` limits the result. Its requests are in no other number of the test.

        Args:
            workload: what is sent; how many requests it has does not matter. A workload with timestamps is refused.
            start: the first rate, such as ``"4/s"``; without it, one that single requests suggest.
            lowest, highest: the search stays within these rates.
            precision: how far the truth may lie from the rate in the end.
            until: ``"decided"`` to end as soon as the limit on ``sustained`` is decided.
            max_seconds: a step that would end later is not begun.
            max_requests: the most requests of the search.
            max_error_rate: share of failed requests of a step that is tolerated; these count as above every limit.
            temperature, stream, headers, timeout, extra: as for :meth:`run`.

        Raises:
            RequestFailed: more requests of a step failed than tolerated.
            LoadClientDied: the process that sends a load ended.
            ValueError: an argument that cannot be measured.
        """
        _refuse_lengths(extra)
        if misplaced := sorted(OPTION_NAMES & extra.keys()):
            raise ValueError(f"{misplaced[0]}= is for run(): capacity() chooses its rates itself")
        check_words({key: value for key, value in extra.items() if key not in OWN}, (*OWN, *_SEARCH))
        options = parse_options(
            workload,
            start=start,
            lowest=lowest,
            highest=highest,
            precision=precision,
            until=until,
            max_seconds=max_seconds,
            max_requests=max_requests,
            max_error_rate=max_error_rate,
        )
        settings = {"temperature": temperature, "stream": stream, "headers": headers, "timeout": timeout, **extra}
        return CurveRunner(self._loads).search(workload, options, settings)

    def sweep(
        self,
        workload: Workload,
        *,
        concurrency: Sequence[int] | None = None,
        rate: Sequence[str] | None = None,
        temperature: float | None = 0.0,
        stream: bool = True,
        headers: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        **arguments: Any,
    ) -> SweepResult:
        """Runs a workload at each rate, or with each number of requests at a time, and gives the curve.

        Each point has as many requests as the workload. ``arguments`` are those of :meth:`run` that say how a load is
        sent (``duration``, ``warmup``, ``cooldown``, ``ramp``, ``arrival``, ``burstiness``, ``max_error_rate``), or go
        into the body. The requests are in no other number of the test.

        Raises:
            RequestFailed: more requests failed than tolerated.
            LoadClientDied: the process that sends a load ended.
            ValueError: an argument that cannot be measured.
        """
        if (concurrency is None) == (rate is None):
            raise ValueError("sweep() takes several rates, rate=['2/s', '4/s'], or several concurrency=[1, 8]")
        values: Sequence[Any] = rate if rate is not None else concurrency or ()
        if isinstance(values, str | bytes) or not isinstance(values, Sequence) or not values:
            raise ValueError(f"{'rate' if rate is not None else 'concurrency'}={values!r} must be a list of values")
        _refuse_lengths(arguments)
        if misplaced := sorted({"until", "max_requests"} & arguments.keys()):
            raise ValueError(f"{misplaced[0]} is for run() and capacity(): each point of a sweep is a load of its own")
        shared = {key: arguments.pop(key) for key in OPTION_NAMES & arguments.keys()}
        check_words({key: value for key, value in arguments.items() if key not in OWN}, {*OWN, *OPTION_NAMES})
        name = "rate" if rate is not None else "concurrency"
        schedules = [ScheduleOptions(**{**shared, name: value}) for value in values]
        settings = {"temperature": temperature, "stream": stream, "headers": headers, "timeout": timeout, **arguments}
        return CurveRunner(self._loads).sweep(workload, schedules, settings)

    def _run_workload(
        self,
        workload: Workload,
        *,
        temperature: float | None = 0.0,
        stream: bool = True,
        headers: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        **arguments: Any,
    ) -> LoadResult:
        _refuse_lengths(arguments)
        options = ScheduleOptions(**{key: arguments.pop(key) for key in OPTION_NAMES & arguments.keys()})
        check_words({key: value for key, value in arguments.items() if key not in OWN}, {*OWN, *OPTION_NAMES})
        settings = {
            "temperature": temperature,
            "stream": stream,
            "headers": headers,
            "timeout": timeout,
            **arguments,
        }
        return self._loads.run(workload, parse_schedule(workload, options), settings)

    def _run_prompts(
        self,
        prompts: Sequence[Messages],
        *,
        concurrency: int = 1,
        max_tokens: int | None = DEFAULT_TOKENS,
        temperature: float | None = 0.0,
        stream: bool = True,
        headers: Mapping[str, str] | None = None,
        timeout: float | str | None = None,
        chat: bool = False,
        **extra: Any,
    ) -> list[Answer]:
        if misplaced := sorted(OPTION_NAMES & extra.keys()):
            raise ValueError(f"{misplaced[0]} is for a workload: run(workload(prompts), {misplaced[0]}=...)")
        if isinstance(prompts, str) or not prompts:
            raise ValueError("prompts must be a list with at least one prompt")
        check_count("concurrency", concurrency)
        settings = _settings(max_tokens, temperature, stream, headers, timeout, extra)
        make = conversation if chat else completion
        posts = [make(self._endpoint, self._dialect, prompt, settings) for prompt in prompts]
        self._check_room(*posts)
        calls = [replace(create_call(self._transport, post), way="list") for post in posts]
        ends = [self._listener.register(call) for call in calls]
        try:
            self._transport.perform_all(calls, concurrency)
        finally:
            answers = [call.answer() for call in calls]
            for end, call, answer in zip(ends, calls, answers, strict=True):
                end(answer.timing if call.attempt.sent_ns else None)
        return [call.check(answer) for call, answer in zip(calls, answers, strict=True)]

    def cancel(self) -> None:
        """Cancels the calls of ``generate`` and ``chat`` that are under way in other threads.

        They raise RequestFailed there. An asynchronous call is cancelled by its task.

        Raises:
            ValueError: the engine runs inside pytest.
        """
        self._transport.cancel()
        if self._transport_of_inputs is not None:
            self._transport_of_inputs.cancel()

    def expect_cancelled(self, *, within: str = "10 s") -> Cancelling:
        """A ``with`` block in which the test has requests cancelled on purpose, by whatever client of this engine.

        What is sent in the block and then cancelled is no failed request: it counts in no latency but ``cancel``, and
        in no rate. The end of the block waits until its requests have ended and the server works on no cancelled one.
        In a coroutine write ``async with``.

        Args:
            within: how long that may take.

        Raises:
            ValueError: the client belongs to no test, or ``within`` is no time.
        """
        seconds = parse(within, SECONDS)
        if self._listener.expect_cancelled is None:
            raise ValueError("expect_cancelled() is for the client of a test: this one belongs to no test")
        return self._listener.expect_cancelled(seconds)

    def close(self) -> None:
        """Closes the idle connections."""
        self._transport.close()
        if self._transport_of_inputs is not None:
            self._transport_of_inputs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_room(self, *posts: Post) -> None:
        """Raises ValueError for an answer that the engine would cut."""
        if self._dialect.check_room is not None:
            for post in posts:
                if post.work == "text":
                    self._dialect.check_room(self._endpoint, post.body)

    def _find_transport(self, post: Post) -> Transport:
        """What carries a request: one for embeddings or ranks goes in the form of the OpenAI API to every engine.

        Raises:
            ValueError: the engine is not asked over HTTP.
        """
        if post.work == "text" or (self._dialect.transport is None and self._dialect.api is None):
            return self._transport
        if self._dialect.transport is not None:
            raise ValueError("this engine runs inside pytest and is asked for text alone: leave out mode=offline")
        with self._lock:
            if self._transport_of_inputs is None:
                api = HttpApi(self._endpoint.url)
                self._transport_of_inputs = HttpTransport(api, self._endpoint.api_key, self._timeout)
            return self._transport_of_inputs

    def _ask(self, post: Post) -> Answer:
        self._check_room(post)
        transport = self._find_transport(post)
        call = create_call(transport, post)
        end = self._listener.register(call)
        try:
            with call.watched():
                transport.perform(call.attempt)
        finally:
            answer = call.answer()
            end(answer.timing)
        return call.check(answer)

    async def _aask(self, post: Post) -> Answer:
        if self._dialect.check_room is not None:
            await asyncio.to_thread(self._check_room, post)
        transport = self._find_transport(post)
        call = create_call(transport, post)
        end = self._listener.register(call)
        try:
            with call.watched():
                await transport.aperform(call.attempt)
        finally:
            answer = call.answer()
            end(answer.timing)
        return call.check(answer)


def _refuse_lengths(arguments: Mapping[str, Any]) -> None:
    limited = arguments.get("max_tokens") is not None or "max_completion_tokens" in arguments
    if limited or "chat" in arguments:
        raise ValueError("a workload says itself how long answers are and whether it chats: output_tokens=, chat=")


def _settings(
    max_tokens: int | None,
    temperature: float | None,
    stream: bool,
    headers: Mapping[str, str] | None,
    timeout: float | str | None,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """Joins the settings of a request.

    Raises:
        ValueError: a word of ``extra`` is for something else, or misspelled.
    """
    if misplaced := sorted(OPTION_NAMES & extra.keys()):
        raise ValueError(f"{misplaced[0]}= is for run(), and one request has none")
    check_words({key: value for key, value in extra.items() if key not in OWN}, (*OWN, "concurrency", "chat"))
    own = {"max_tokens": max_tokens, "temperature": temperature, "stream": stream}
    return {**own, "headers": headers, "timeout": timeout, **extra}
