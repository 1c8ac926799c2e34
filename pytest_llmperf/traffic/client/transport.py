"""What carries a client's requests to a model: a protocol that HTTP and engines of this process implement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pytest_llmperf.traffic.answers.asked import is_told_to_go_on, read_adapters, read_asked_tokens
from pytest_llmperf.traffic.answers.inputs.counts import count_asked_inputs, count_asked_results
from pytest_llmperf.traffic.answers.inputs.reader import read_embeddings, read_scores
from pytest_llmperf.traffic.client.exchange import Exchange
from pytest_llmperf.traffic.client.request import Call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.traffic.answers.answer import Answer, Arrival
    from pytest_llmperf.traffic.client.request import Attempt, Post


class Transport(Protocol):
    """Carries requests to one engine and stamps what comes back."""

    def attempt(self, path: str, body: Mapping[str, Any]) -> Attempt:
        """A request, not yet sent; ``path`` as in ``/chat/completions``, ``body`` what is posted there."""

    def perform(self, attempt: Attempt) -> None:
        """Carries it out. Threads may do so at the same time.

        Raises:
            TransportError: no complete answer; what came is in the attempt.
        """

    async def aperform(self, attempt: Attempt) -> None:
        """The same in the running event loop; cancelling it ends the request."""

    def cancel(self) -> None:
        """Ends what ``perform`` carries out in other threads, which raises TransportCancelledError there.

        Raises:
            ValueError: this transport cannot.
        """

    def perform_all(self, calls: Sequence[Call], concurrency: int) -> None:
        """Carries out all of them, in their order, so many at a time; a failure is noted in its call."""

    def read(self, arrival: Arrival) -> Answer:
        """Parses what an attempt has received. Never raises: ``timing.error`` says what is wrong with it."""

    def close(self) -> None:
        """Lets go of what is kept between requests."""


def create_call(transport: Transport, post: Post) -> Call:
    """The request as a call of this transport, not yet sent.

    Raises:
        ValueError: the transport cannot send it.
    """
    attempt = transport.attempt(post.path, post.body)
    if isinstance(attempt, Exchange):
        attempt.adapt(post.headers, post.timeout_s)
    elif post.headers or post.timeout_s is not None:
        raise ValueError("this engine is not asked over HTTP: leave out headers and timeout")
    if post.work != "text":
        return Call(
            attempt,
            read_embeddings if post.work == "embed" else read_scores,
            post.find_prompt,
            post.streamed,
            post.shared_prefix,
            work=post.work,
            asked_inputs=count_asked_inputs(post.work, post.body),
            asked_results=count_asked_results(post.work, post.body),
        )
    return Call(
        attempt,
        transport.read,
        post.find_prompt,
        post.streamed,
        post.shared_prefix,
        asked_tokens=read_asked_tokens(post.body),
        full_length=is_told_to_go_on(post.body),
        adapter=read_adapters(post.body),
    )
