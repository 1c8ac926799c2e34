"""The requests of a load, made from its workload and its schedule."""

from __future__ import annotations

import json
import math
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.asked import is_told_to_go_on
from pytest_llmperf.traffic.client.http import find_api
from pytest_llmperf.traffic.client.posts import completion, conversation
from pytest_llmperf.traffic.load.result import Asked
from pytest_llmperf.traffic.load.wire import Order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_llmperf.measurement.prompts import Prompt
    from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
    from pytest_llmperf.traffic.client.request import Post
    from pytest_llmperf.traffic.load.schedule import Schedule
    from pytest_llmperf.traffic.workloads.texts import Texts
    from pytest_llmperf.traffic.workloads.workload import Script, Turn, Workload


class Preparation:
    """Makes the requests of a workload to one model, at the times of a schedule.

    ``settings`` are fields of each body. ``texts`` makes the prompts; None for a workload that has its own. ``run``
    names the load, whose stretches share their prefixes with no other load.

    Attributes:
        api: the form in which the model is asked over HTTP.
        asked: what each request number so far asked for, without its text.
        prompts: the prompt of each first turn, by its number.
    """

    def __init__(
        self,
        workload: Workload,
        schedule: Schedule,
        endpoint: Endpoint,
        dialect: Dialect,
        settings: Mapping[str, Any],
        texts: Texts | None,
        run: str,
    ) -> None:
        self._workload = workload
        self._schedule = schedule
        self._endpoint = endpoint
        self._dialect = dialect
        self._settings = settings
        self._texts = texts
        self._run = run
        self.api = find_api(endpoint, dialect)
        self._adapters: dict[str, Mapping[str, Any]] = {}
        self.asked: list[Asked] = []
        self.prompts: dict[int, Prompt | None] = {}

    def generate_scripts(self) -> Iterator[tuple[Script, int | None]]:
        """Yields each script with its moment in ns from the start of the load; None in a closed loop."""
        scripts = self._workload.generate_scripts(self._texts)
        if not self._schedule.open:
            yield from ((script, None) for script in scripts)
            return
        moments: Iterator[tuple[Script, float]]
        if self._schedule.rate is None:
            moments = ((script, script.at_s or 0.0) for script in scripts)
        else:
            moments = zip(scripts, self._schedule.generate_arrivals(self._workload.draws), strict=False)
        end = math.inf if self._schedule.duration_s is None else self._schedule.duration_s
        for script, at_s in takewhile(lambda moment: moment[1] < end, moments):
            yield script, round(at_s * 1e9)

    def generate_orders(self) -> Iterator[Order]:
        """Yields one order for the load client per script, and adds its turns to ``asked``."""
        for script, due_ns in self.generate_scripts():
            post = self.build_post(script)
            number = len(self.asked)
            self.prompts[number] = post.find_prompt()
            full_length = is_told_to_go_on(post.body)
            self.asked += [
                Asked(turn.output_tokens, turn.prompt_tokens, full_length, script.adapter) for turn in script.turns
            ]
            further = [(turn.content, turn.output_tokens, _find_pause(turn, script)) for turn in script.turns[1:]]
            _, body = self.translate(post)
            if further and not isinstance(body.get("messages"), list):
                raise ValueError("this engine's chats have no list of messages: leave out turns")
            yield Order(number, json.dumps(body).encode(), due_ns, post.shared_prefix, full_length, further)

    def translate(self, post: Post) -> tuple[str, Mapping[str, Any]]:
        """Path and body of a request as the model is asked over HTTP.

        Raises:
            ValueError: a setting cannot be expressed there.
        """
        return self.api.translate(post.path, post.body)

    def list_prompts(self) -> list[Prompt | None]:
        """The prompts of the requests that were made so far. Any thread may ask."""
        return list(self.prompts.values())

    def build_post(self, script: Script) -> Post:
        """Builds the first request of a script.

        Raises:
            ValueError: a setting cannot be measured.
        """
        first = script.turns[0]
        left_out = self._settings.get("max_tokens", ...) is None
        length = {"max_completion_tokens" if left_out else "max_tokens": first.output_tokens}
        settings = {**self._settings, **first.fields, **length, **self._find_adapter_fields(script.adapter)}
        if script.group:
            # What the test itself sets for the prefix cache comes last and counts.
            settings = {**self._dialect.prefix_group(f"{self._run} {script.group}"), "share_prefix": True, **settings}
        make = conversation if self._workload.chat else completion
        return make(self._endpoint, self._dialect, first.content, settings)

    def _find_adapter_fields(self, adapter: str) -> Mapping[str, Any]:
        """The fields by which a request asks for an adapter; the engine is asked for each adapter once.

        Raises:
            ValueError: the engine does not have it, or its requests cannot name one.
        """
        if not self._workload.adapters:
            return {}
        if self._dialect.adapter_fields is None:
            raise ValueError("adapters: requests to this engine cannot name an adapter")
        if adapter not in self._adapters:
            self._adapters[adapter] = self._dialect.adapter_fields(self._endpoint, adapter)
        return self._adapters[adapter]

    @cached_property
    def first_post(self) -> Post:
        """The first request of the load, which shows before anything is sent whether its settings can be measured.

        Raises:
            ValueError: a setting cannot be measured, or the duration is too short for a request.
        """
        for adapter in self._workload.adapters.names:
            self._find_adapter_fields(adapter)
        first = next(self.generate_scripts(), None)
        if first is None:
            raise ValueError("no request falls into the duration: make it longer, or the rate higher")
        return self.build_post(first[0])


def _find_pause(turn: Turn, script: Script) -> int:
    """The pause before a further turn, in ns."""
    return round((script.think_s if turn.think_s is None else turn.think_s) * 1e9)
