"""Where a model is asked, and how: two frozen values that an engine gives its clients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_llmperf.traffic.client.api import HttpApi
    from pytest_llmperf.traffic.client.transport import Transport

NO_ADDRESS = "the engine runs inside pytest and has no address: an app needs a server (for vllm leave out mode=offline)"


@dataclass(frozen=True)
class Endpoint:
    """The address of a model.

    Attributes:
        base_url: URL of the OpenAI API, such as ``http://127.0.0.1:8080/v1``, without a query; empty for an engine that
            has no address.
        model: the name that requests give.
        api_key: empty if the server asks for none.
        query: query of each request, such as ``api-version=2024-10-21``; empty for none.
    """

    base_url: str
    model: str
    api_key: str = field(default="", repr=False)
    query: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The ``base_url`` with the query."""
        return f"{self.base_url}?{self.query}" if self.query else self.base_url

    @property
    def root(self) -> str:
        """The URL of the server itself, without ``/v1``."""
        return self.base_url.removesuffix("/v1")


def _carry_nothing(_: object) -> Mapping[str, Any]:
    return {}


def _name_model(_: Endpoint, adapter: str) -> Mapping[str, Any]:
    return {"model": adapter} if adapter else {}


@dataclass(frozen=True)
class Dialect:
    """What requests to an engine carry beside what a test asks for. The default is a plain OpenAI API.

    Attributes:
        defaults: fields of each body, below the arguments of the call.
        stream_options: fields of ``stream_options`` in each streamed request, beside ``include_usage``.
        full_length: fields that make an answer as long as its ``max_tokens``.
        warmup: fields of the request that warms an engine up.
        prefix_settings: called with whether the prompt may come from the prefix cache, returns the fields for that.
            Called once for each request, so a salt can be new each time.
        obeyed: fields of a body by which the server keeps prompts apart in its prefix cache, whoever sends them.
        prefix_group: called with the name of a group, returns the fields by which a request that may share its prefix
            shares it only within the group.
        before_prompts: what stands before a prompt that may not come from the prefix cache, or text of as many tokens;
            "" for nothing.
        count_tokens: the number of tokens of a text as a prompt, special tokens included; None if the engine cannot
            count them.
        list_tokens: the ids of the tokens of a text as a prompt, special ones included; None if the engine does not
            state them.
        likely_tokens: fields of a completion of one token by which it states the 20 most likely ones; None for an
            engine that never does.
        check_room: called with each body before it is sent, of a load with the first; raises ValueError for an answer
            that the engine would cut because its context is too small. None if the engine tells so itself.
        adapter_fields: called with the name of an adapter, returns the fields by which a request asks for it; "" is the
            model itself. Raises ValueError for one that the engine does not have. None if requests cannot name one.
        keeps_connections: whether an idle connection costs the engine nothing. If not, each request of a load opens
            its own.
        api: the form in which the engine is asked over HTTP; None for that of the OpenAI API.
        transport: creates the transport of a client, which closes it; None for an engine that is asked over HTTP.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    stream_options: Mapping[str, Any] = field(default_factory=dict)
    full_length: Mapping[str, Any] = field(default_factory=dict)
    warmup: Mapping[str, Any] = field(default_factory=dict)
    prefix_settings: Callable[[bool], Mapping[str, Any]] = _carry_nothing
    obeyed: frozenset[str] = frozenset()
    prefix_group: Callable[[str], Mapping[str, Any]] = _carry_nothing
    before_prompts: str = ""
    count_tokens: Callable[[Endpoint, str], int] | None = None
    list_tokens: Callable[[Endpoint, str], Sequence[int]] | None = None
    likely_tokens: Mapping[str, Any] | None = field(default_factory=lambda: {"logprobs": 20})
    check_room: Callable[[Endpoint, Mapping[str, Any]], None] | None = None
    adapter_fields: Callable[[Endpoint, str], Mapping[str, Any]] | None = _name_model
    keeps_connections: bool = True
    api: Callable[[Endpoint], HttpApi] | None = None
    transport: Callable[[Endpoint], Transport] | None = None

    def create_counter(self, endpoint: Endpoint, *, shared: bool) -> Callable[[str], int] | None:
        """Creates a function that counts the tokens of a text as a prompt of the model there; None if none can.

        ``shared`` says whether the prompt may come from the prefix cache.
        """
        count, before = self.count_tokens, "" if shared else self.before_prompts
        return None if count is None else lambda text: count(endpoint, before + text)


OPENAI = Dialect()
