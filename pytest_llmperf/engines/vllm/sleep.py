"""vLLM's sleep mode: the weights leave the device, or are given up, and the process stays."""

from __future__ import annotations

import json
import urllib.error
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pytest_llmperf.engines.api.deployment import Deployment
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.engines.lifecycle.http import http_get, http_post

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
ARGUMENT = "enable_sleep_mode"
# Only then the server has the addresses for this, and for emptying its caches.
SERVER_ENVIRON = {"VLLM_SERVER_DEV_MODE": "1"}
_GIVES_UP_WEIGHTS = 2
_LEVELS = {1: "the weights go to the host's memory", _GIVES_UP_WEIGHTS: "the weights are given up"}
# Moving the weights of a large model takes its time.
_SECONDS = 300.0


class Sleeper(Protocol):
    """Puts vLLM to sleep and wakes it. Raises OSError for errors of the transport, and whatever the engine raises."""

    def sleep(self, level: int) -> None: ...

    def wake(self, tags: Sequence[str] = ()) -> None:
        """Takes memory again for what ``tags`` name; for all of it without any."""

    def reload_weights(self) -> None: ...

    def is_sleeping(self) -> bool: ...


class SleepingDeployment(Deployment):
    """A deployment that sleeps and wakes by vLLM's sleep mode, where it has one."""

    # Whether it gave up its weights when it was put to sleep.
    _gave_up_weights = False

    @property
    @abstractmethod
    def is_on_cpu(self) -> bool:
        """Whether it computes on the CPU, where there is no sleep mode."""

    @abstractmethod
    def sleeper(self) -> Sleeper:
        """Returns the object that puts this engine to sleep and wakes it."""

    @property
    def has_sleep_mode(self) -> bool:
        """Whether it was started with vLLM's sleep mode."""
        return self.spec.args.get(ARGUMENT, "false").lower() in ("true", "")

    def sleep(self, level: int) -> None:
        """Frees the memory of the KV cache and of the weights; at level 1 these go to the host's memory."""
        self._refuse_sleep(level)
        _order("sleep", lambda: self.sleeper().sleep(level))
        if not _order("say whether it sleeps", self.sleeper().is_sleeping):
            raise EngineError("vllm did not go to sleep")
        self._gave_up_weights = level == _GIVES_UP_WEIGHTS
        self.state = EngineState.ASLEEP

    def unload(self) -> None:
        """Puts it to sleep if it has a sleep mode; else unloads as any deployment of its kind."""
        if self.has_sleep_mode and not self.is_on_cpu:
            self.sleep(1)
        else:
            super().unload()

    def wake(self) -> None:
        """Takes its memory again, and after level 2 reads the weights again. Does nothing if it does not sleep.

        Raises:
            EngineError: it did not wake.
        """
        if self.state is not EngineState.ASLEEP:
            return
        sleeper = self.sleeper()
        if self._gave_up_weights:
            _order("wake", lambda: sleeper.wake(["weights"]))
            _order("read its weights again", sleeper.reload_weights)
            _order("wake", lambda: sleeper.wake(["kv_cache"]))
        else:
            _order("wake", sleeper.wake)
        if _order("say whether it sleeps", sleeper.is_sleeping):
            raise EngineError("vllm did not wake up; llm_engine.restart() gives a fresh one")
        self.state = EngineState.READY

    def _refuse_sleep(self, level: int) -> None:
        if level not in _LEVELS:
            levels = ", ".join(f"{number}: {meaning}" for number, meaning in _LEVELS.items())
            raise EngineError(f"vllm: there is no sleep at level {level!r} ({levels})")
        if self.is_on_cpu:
            # It would say that it sleeps, and hold all of its memory.
            raise EngineError(
                "vllm: sleep is not supported here: its sleep mode is for CUDA and ROCm, and this is the CPU"
            )
        if not self.has_sleep_mode:
            raise EngineError(f"vllm was started without sleep mode: give --llmperf-engine-arg={ARGUMENT}=true")


class ServerSleeper:
    """Controls the sleep of a server that was started with :data:`SERVER_ENVIRON`."""

    def __init__(self, base_url: str) -> None:
        self._root = base_url.removesuffix("/v1")

    def sleep(self, level: int) -> None:
        http_post(f"{self._root}/sleep?level={level}", timeout=_SECONDS)

    def wake(self, tags: Sequence[str] = ()) -> None:
        query = "&".join(f"tags={tag}" for tag in tags)
        http_post(f"{self._root}/wake_up{'?' if query else ''}{query}", timeout=_SECONDS)

    def reload_weights(self) -> None:
        http_post(f"{self._root}/collective_rpc", {"method": "reload_weights"}, timeout=_SECONDS)

    def is_sleeping(self) -> bool:
        return bool(json.loads(http_get(f"{self._root}/is_sleeping"))["is_sleeping"])


class LLMSleeper:
    """Controls the sleep of a ``vllm.LLM`` of this process."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm

    def sleep(self, level: int) -> None:
        self._llm.sleep(level)

    def wake(self, tags: Sequence[str] = ()) -> None:
        self._llm.wake_up(list(tags) or None)

    def reload_weights(self) -> None:
        self._llm.collective_rpc("reload_weights")

    def is_sleeping(self) -> bool:
        return bool(self._llm.llm_engine.is_sleeping())


def _order(what: str, give: Callable[[], T]) -> T:
    try:
        return give()
    except urllib.error.HTTPError as error:
        hint = "; VLLM_SERVER_DEV_MODE=1 must be set where it is started" if error.code == 404 else ""
        raise EngineError(f"vllm did not {what}: HTTP {error.code}{hint}") from None
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"vllm did not {what}: {' '.join(str(error).split()) or type(error).__name__}") from error
