"""The settings of the simulated engine, each a string with its unit as users write it."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from pytest_llmperf.measurement import units

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class SimulationError(ValueError):
    """A setting that cannot be understood; one line that names the key and what would be right."""


def _seconds(text: str) -> float:
    return units.parse(text, units.SECONDS)


def _bytes(text: str) -> int:
    return int(units.parse(text, units.BYTES))


def _growth(text: str) -> float:
    return units.parse(text, units.SHARE)


def _share(text: str) -> float:
    share = units.parse(text, units.SHARE)
    if share > 1:
        raise ValueError(f"{text!r} is more than all: a share is at most '100 %'")
    return share


def _integer(least: int, most: int | None = None) -> Callable[[str], int]:
    wanted = f"a whole number of {least} or more" if most is None else f"a whole number from {least} to {most}"

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not {wanted}") from None
        if number < least or (most is not None and number > most):
            raise ValueError(f"{text!r} is not {wanted}")
        return number

    return parse


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"{text!r} is not a number of 0 or more")
    return number


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return parse


def _name(text: str) -> str:
    if not text.strip():
        raise ValueError(f"{text!r} is empty: write a name")
    return text


def _setting(default: str, parse: Callable[[str], object], meaning: str, *, per_request: bool = False) -> Any:
    about = {"default": default, "parse": parse, "meaning": meaning, "per_request": per_request}
    return field(default=parse(default), metadata=about)


@dataclass(frozen=True)
class Simulation:
    """How the simulated engine behaves: durations in seconds, sizes in bytes, shares from 0 to 1.

    Users write each setting as a string with its unit, see :meth:`from_strings`; :meth:`describe` lists them.
    """

    ttft: float = _setting("20 ms", _seconds, "from the request's arrival to its first token", per_request=True)
    tpot: float = _setting("5 ms", _seconds, "time per token; k tokens in one chunk take k times it", per_request=True)
    prefill: float = _setting(
        "0 s",
        _seconds,
        "added to ttft for each token of the prompt that the prefix cache does not have",
        per_request=True,
    )
    batch_slowdown: float = _setting(
        "0 %", _growth, "each further request that has a slot makes the time of all that have one pass so much slower"
    )
    first_request: float = _setting("0 s", _seconds, "the very first request waits so much longer for its first token")
    prefix_cache: bool = _setting(
        "false", _flag, "the beginning of a prompt that was sent before takes no part of its ttft"
    )
    states_cached: bool = _setting("true", _flag, "answers state how many tokens of their prompt came from that cache")
    jitter: float = _setting("0 ms", _seconds, "every gap is longer or shorter by at most this", per_request=True)
    session_sd: float = _setting(
        "0 %", _share, "all times of this server differ from those of others, drawn with the seed"
    )
    drift_sd: float = _setting("0 %", _share, "a slow swing: requests in a row are slow or fast together")
    request_sd: float = _setting("0 %", _share, "each request is slow or fast by itself")
    outliers: float = _setting("0 %", _share, "share of requests that take half again as long")
    tokens_per_chunk: int = _setting("1", _integer(1), "tokens in each chunk of a stream", per_request=True)
    role_chunk: bool = _setting(
        "true",
        _flag,
        "a chat stream begins at once with a chunk that has a role and no token",
        per_request=True,
    )
    reasoning_tokens: int = _setting("0", _integer(0), "tokens of reasoning before the answer", per_request=True)
    output_tokens: int = _setting(
        "0",
        _integer(0),
        "the answer stops by itself after this many tokens; 0: at max_tokens",
        per_request=True,
    )
    default_max_tokens: int = _setting(
        "16", _integer(1), "max_tokens of a request without max_tokens, for a text that would not end by itself"
    )
    tool_use: str = _setting(
        "auto",
        _one_of("auto", "required", "never"),
        "auto: a request with tools is answered by a call, unless its last message is the result of one; required: "
        "only where tool_choice asks for a call",
        per_request=True,
    )
    script: str = _setting("", str, "a TOML or JSON file with answers for prompts that match a pattern")
    embedding_time: float = _setting(
        "5 ms", _seconds, "what embeddings, rankings and scores take, and prefill beside it", per_request=True
    )
    dimensions: int = _setting("256", _integer(1, 8192), "numbers in each embedding, unless its request says otherwise")
    error_rate: float = _setting("0 %", _share, "share of requests that fail, drawn with the seed")
    error_every: int = _setting("0", _integer(0), "every Nth request fails; 0: none")
    error_status: int = _setting("500", _integer(400, 599), "HTTP status of a failed request", per_request=True)
    stall_after: int = _setting(
        "0", _integer(0), "the stream pauses once after this many tokens; 0: never", per_request=True
    )
    stall: float = _setting("0 s", _seconds, "how long the stream pauses", per_request=True)
    crash_after: int = _setting(
        "0", _integer(0), "the server dies (exit status 70) after this many tokens in all; 0: never"
    )
    crash_on_start: bool = _setting("false", _flag, "the server dies while it starts (exit status 3)")
    cut_after: int = _setting(
        "0",
        _integer(0),
        "the connection closes after this many tokens of an answer; 0: never",
        per_request=True,
    )
    fail_after: int = _setting(
        "0",
        _integer(0),
        "a stream ends with an error after this many tokens of an answer; 0: never",
        per_request=True,
    )
    notices_after: float = _setting(
        "0 s", _seconds, "how long it works on for a client that has gone", per_request=True
    )
    memory: int = _setting("0 B", _bytes, "memory held from start to exit")
    memory_per_request: int = _setting("0 B", _bytes, "memory held while a request runs", per_request=True)
    device: str = _setting(
        "cpu", _one_of("cpu", "gpu"), "what it claims to compute on; gpu measures the GPU, whichever process uses it"
    )
    slots: int = _setting("4", _integer(1), "requests answered at the same time; others wait in order of arrival")
    queue_limit: int = _setting(
        "0", _integer(0), "requests that may wait for a slot; one more is refused with status 429; 0: any number"
    )
    startup_time: float = _setting("0 s", _seconds, "from the start of the server to the first request it takes")
    usage: str = _setting("asked", _one_of("asked", "always", "never"), "when an answer states its token counts")
    seed: int = _setting("0", _integer(0), "seed of text, jitter, error_rate and all noise")
    logit_sd: float = _setting(
        "0", _positive, "error in each logit of the next token, drawn with the seed, as of a coarser quantisation"
    )
    tokenizer: str = _setting("words", _one_of("words", "letters"), "what a token of a prompt is")
    model: str = _setting("simulated", _name, "the model's name")
    port: int = _setting("0", _integer(0, 65535), "TCP port on 127.0.0.1; 0: a free one")

    @classmethod
    def from_strings(cls, settings: Mapping[str, str]) -> Self:
        """The simulation that ``settings`` ask for, ``{"ttft": "100 ms"}``; all others keep their defaults.

        Raises:
            SimulationError: an unknown key, or a value that is not what the key takes.
        """
        for key in settings:
            if key not in _PARSERS:
                raise SimulationError(f"unknown setting {key!r}; the simulated engine takes {', '.join(_PARSERS)}")
        return cls(**{key: parse_setting(key, value) for key, value in settings.items()})

    def with_request(self, settings: Mapping[str, object]) -> Self:
        """The same simulation as one request wants it.

        Values are strings with units, or JSON numbers and booleans; ``error`` says whether this request
        fails, whatever ``error_every`` and ``error_rate`` say. ``warmup`` says that it warms the engine up: it is
        number 0, and its tokens do not count for ``crash_after``.

        Raises:
            SimulationError: a key that is unknown or concerns the whole server, or a bad value.
        """
        others = ("error", "warmup")
        for key in settings:
            if key not in (*PER_REQUEST, *others):
                takes = ", ".join((*PER_REQUEST, *others))
                raise SimulationError(f"{key!r} cannot be set for one request; 'simulate' takes {takes}")
        values: dict[str, Any] = {key: parse_setting(key, settings[key]) for key in settings if key not in others}
        if "error" in settings:
            values |= {"error_every": int(bool(_parse("error", settings["error"], _flag))), "error_rate": 0.0}
        return replace(self, **values)

    @staticmethod
    def describe() -> list[tuple[str, str, str]]:
        """Every setting as (key, default, meaning), for help and documentation."""
        return [(f.name, f.metadata["default"], f.metadata["meaning"]) for f in fields(Simulation)]

    def fails(self, request_number: int) -> bool:
        """Whether the request of this number, counted from 1, is answered with ``error_status``; 0 is the warm-up."""
        if self.error_every == 1 or (self.error_every and request_number and request_number % self.error_every == 0):
            return True
        return random.Random(f"{self.seed} error {request_number}").random() < self.error_rate

    def draw_slowness(self, request_number: int) -> float:
        """The factor on ``ttft`` and ``tpot`` of this request; its median is 1 over all seeds.

        ``session_sd``, ``drift_sd`` and ``request_sd`` are the standard deviations of parts of its logarithm: one drawn
        for the whole server, one that keeps 0.95 of itself from each request to the next, and one for each request.
        """
        logarithm = 0.0
        if self.session_sd:
            logarithm += self.session_sd * _draw_normal(f"{self.seed} session")
        if self.drift_sd:
            logarithm += self.drift_sd * _swing(self.seed, request_number)
        if self.request_sd:
            logarithm += self.request_sd * _draw_normal(f"{self.seed} request {request_number}")
        draw = random.Random(f"{self.seed} outlier {request_number}").random() if self.outliers else 1.0
        return math.exp(logarithm) * (_OUTLIER if draw < self.outliers else 1.0)


_OUTLIER = 1.5
_SWING_KEPT = 0.95
# What is older is below a hundredth of a standard deviation.
_SWING_MEMORY = 100


@lru_cache(maxsize=4 * _SWING_MEMORY)
def _draw_normal(seed: str) -> float:
    return random.Random(seed).gauss(0, 1)


def _swing(seed: int, request_number: int) -> float:
    """The state of a slow swing at a request, with a standard deviation of 1: an AR(1) process in its moving form."""
    pushes = (_draw_normal(f"{seed} drift {request_number - age}") for age in range(_SWING_MEMORY))
    return math.sqrt(1 - _SWING_KEPT**2) * math.fsum(_SWING_KEPT**age * push for age, push in enumerate(pushes))


_PARSERS: dict[str, Callable[[str], object]] = {f.name: f.metadata["parse"] for f in fields(Simulation)}
PER_REQUEST = tuple(f.name for f in fields(Simulation) if f.metadata["per_request"])


def parse_setting(key: str, value: object) -> Any:
    """The value of the setting ``key``.

    Raises:
        SimulationError: ``value`` is not what it takes.
    """
    return _parse(key, value, _PARSERS[key])


def _parse(key: str, value: object, parse: Callable[[str], object]) -> Any:
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str | int | float):
        raise SimulationError(f"{key}={value!r} is neither a string, a number nor a boolean")
    try:
        return parse(str(value))
    except ValueError as error:
        raise SimulationError(f"{key}={error}") from None
