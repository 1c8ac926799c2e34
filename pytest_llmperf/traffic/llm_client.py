"""The client that goes with a test: it asks an OpenAI-compatible server and times the answers at the socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from pytest_llmperf.traffic.client.exchange import Target
from pytest_llmperf.traffic.client.request import Call, RequestFailed, Server, at_least_one, completion, conversation
from pytest_llmperf.traffic.client.transport import HttpTransport
from pytest_llmperf.traffic.load.run import LoadRunner, LoadSupport
from pytest_llmperf.traffic.load.schedule import OPTION_NAMES, ScheduleOptions, parse_schedule
from pytest_llmperf.traffic.workloads.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.traffic.answers.openai import Answer
    from pytest_llmperf.traffic.client.request import Ask, Messages
    from pytest_llmperf.traffic.client.transport import Transport
    from pytest_llmperf.traffic.load.prepare import LoadResult

__all__ = ["LLMClient", "RequestFailed"]
NO_ADDRESS = "the engine runs inside pytest and has no address: an app needs a server (for vllm leave out mode=offline)"


class LLMClient:
    """Asks one model of an OpenAI-compatible server, ``base_url`` being the URL that ends in ``/v1``.

    ``defaults`` go into the body of every request, below the arguments of the call; ``stream_options`` are sent
    with every stream, beside ``include_usage``. ``share_prefix=True``, as an argument of a call, lets its prompt come
    from what the server has cached; by default it is computed afresh where the engine can be told so, which is what
    ``prefix_settings`` is asked for. ``record`` is given the timing of every request exactly once,
    failed and cancelled ones included, before the call returns or raises. ``timeout`` (seconds) bounds the
    connecting and every single silence of the server, not the whole answer. A ``transport`` of the engine's own takes
    the place of the OpenAI API over HTTP for these calls; ``base_url`` is the engine's address, empty if it has none.
    ``app_url`` gives the address for an app under test, where that is another one. ``load`` is what engine and session
    do for loads.

    The blocking calls keep their connections and may come from several threads; each asynchronous call opens one
    of its own, whose connecting is part of its latency.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str = "",
        *,
        defaults: Mapping[str, Any] | None = None,
        stream_options: Mapping[str, Any] | None = None,
        prefix_settings: Callable[[bool], Mapping[str, Any]] = lambda share: {},
        record: Callable[[RequestTiming], None] | None = None,
        timeout: float = 120.0,
        transport: Transport | None = None,
        app_url: Callable[[], str] | None = None,
        load: LoadSupport | None = None,
    ) -> None:
        if not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("api_key holds characters that a header cannot carry, such as a line break")
        self._base_url = base_url.rstrip("/")
        self.model = model
        self.api_key = api_key
        self._transport = transport or HttpTransport(Target.parse(self._base_url), api_key, timeout)
        self._server = Server(self._transport, model, dict(defaults or {}), dict(stream_options or {}), prefix_settings)
        self._record = record
        self._app_url = app_url
        self._loads = LoadRunner(
            self._server,
            self._base_url,
            api_key,
            timeout,
            transport,
            load or LoadSupport(),
            record or (lambda _: None),
        )

    @property
    def base_url(self) -> str:
        """The address of the OpenAI API, for the app under test: what it asks there is measured as the test's own.

        Raises:
            RuntimeError: the engine has none.
        """
        if not self._base_url:
            raise RuntimeError(NO_ADDRESS)
        return self._base_url if self._app_url is None else self._app_url()

    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int = 128,
        temperature: float = 0.0,
        stream: bool = True,
        **extra: Any,
    ) -> Answer:
        """Completes a text (``POST /completions``); ``extra`` goes into the body as it is.

        Raises:
            RequestFailed: there is no complete answer.
            ValueError: an argument that cannot be measured.
        """
        return self._ask(completion(self._server, prompt, _settings(max_tokens, temperature, stream, extra)))

    def chat(
        self,
        messages: Messages,
        *,
        max_tokens: int = 128,
        temperature: float = 0.0,
        stream: bool = True,
        **extra: Any,
    ) -> Answer:
        """Answers a conversation (``POST /chat/completions``); a string is one message of the user.

        Raises:
            RequestFailed: there is no complete answer.
            ValueError: an argument that cannot be measured.
        """
        return self._ask(conversation(self._server, messages, _settings(max_tokens, temperature, stream, extra)))

    async def agenerate(
        self,
        prompt: str,
        *,
        max_tokens: int = 128,
        temperature: float = 0.0,
        stream: bool = True,
        **extra: Any,
    ) -> Answer:
        """As :meth:`generate`, in the running event loop; cancelling it closes the connection."""
        settings = _settings(max_tokens, temperature, stream, extra)
        return await self._aask(completion(self._server, prompt, settings))

    async def achat(
        self,
        messages: Messages,
        *,
        max_tokens: int = 128,
        temperature: float = 0.0,
        stream: bool = True,
        **extra: Any,
    ) -> Answer:
        """As :meth:`chat`, in the running event loop; cancelling it closes the connection."""
        settings = _settings(max_tokens, temperature, stream, extra)
        return await self._aask(conversation(self._server, messages, settings))

    @overload
    def run(
        self,
        prompts: Sequence[Messages],
        *,
        concurrency: int = 1,
        max_tokens: int = 128,
        temperature: float = 0.0,
        stream: bool = True,
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
        temperature: float = 0.0,
        stream: bool = True,
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
        are parts of the duration and of the requests. The result has timings, and no texts.

        Raises:
            RequestFailed: for the first prompt without a complete answer, after all have ended; under load, when more
                requests failed than tolerated.
            LoadClientDied: the process that sends a load ended.
            ValueError: an argument that cannot be measured; nothing has been sent then.
        """
        if isinstance(prompts, Workload):
            return self._run_workload(prompts, **arguments)
        return self._run_prompts(prompts, **arguments)

    def _run_workload(
        self, workload: Workload, *, temperature: float = 0.0, stream: bool = True, **arguments: Any
    ) -> LoadResult:
        if "max_tokens" in arguments or "chat" in arguments:
            raise ValueError("a workload says itself how long answers are and whether it chats: output_tokens=, chat=")
        options = ScheduleOptions(**{key: arguments.pop(key) for key in OPTION_NAMES & arguments.keys()})
        settings = {"temperature": temperature, "stream": stream, **arguments}
        return self._loads.run(workload, parse_schedule(workload, options), settings)

    def _run_prompts(
        self,
        prompts: Sequence[Messages],
        *,
        concurrency: int = 1,
        max_tokens: int = 128,
        temperature: float = 0.0,
        stream: bool = True,
        chat: bool = False,
        **extra: Any,
    ) -> list[Answer]:
        if misplaced := sorted(OPTION_NAMES & extra.keys()):
            raise ValueError(f"{misplaced[0]} is for a workload: run(workload(prompts), {misplaced[0]}=...)")
        if isinstance(prompts, str) or not prompts:
            raise ValueError("prompts must be a list with at least one prompt")
        at_least_one("concurrency", concurrency)
        settings = _settings(max_tokens, temperature, stream, extra)
        make = conversation if chat else completion
        calls = [make(self._server, prompt, settings).call(self._transport) for prompt in prompts]
        try:
            self._transport.perform_all(calls, concurrency)
        finally:
            answers = [self._recorded(call) for call in calls if call.attempt.sent_ns]
        return [call.checked(answer) for call, answer in zip(calls, answers, strict=True)]

    def close(self) -> None:
        """Closes the idle connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, ask: Ask) -> Answer:
        call = ask.call(self._transport)
        try:
            with call.watched():
                self._transport.perform(call.attempt)
        finally:
            answer = self._recorded(call)
        return call.checked(answer)

    async def _aask(self, ask: Ask) -> Answer:
        call = ask.call(self._transport)
        try:
            with call.watched():
                await self._transport.aperform(call.attempt)
        finally:
            answer = self._recorded(call)
        return call.checked(answer)

    def _recorded(self, call: Call) -> Answer:
        answer = call.answer()
        if self._record is not None:
            self._record(answer.timing)
        return answer


def _settings(max_tokens: int, temperature: float, stream: bool, extra: Mapping[str, Any]) -> dict[str, Any]:
    return {"max_tokens": max_tokens, "temperature": temperature, "stream": stream, **extra}
