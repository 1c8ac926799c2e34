"""vLLM's sleep mode: the weights leave the device, or are given up, and the engine stays."""

from __future__ import annotations

import json
import urllib.error
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pytest_llmperf.engines.api.engine import Engine, EngineError
from pytest_llmperf.engines.lifecycle.http import http_get, http_post

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
ARGUMENT = "enable_sleep_mode"
# The server has the addresses for it only then.
SERVER_ENVIRON = {"VLLM_SERVER_DEV_MODE": "1"}
_LEVELS = {1: "the weights go to the host's memory", 2: "the weights are given up"}
# Moving the weights of a large model takes its time.
_SECONDS = 300.0


class Sleeper(Protocol):
    """How a sleep is ordered. Errors of the transport are OSError, of the engine whatever it raises."""

    def sleep(self, level: int) -> None: ...

    def wake(self, tags: Sequence[str] = ()) -> None:
        """Takes memory again for what ``tags`` name, all of it without any."""

    def reload_weights(self) -> None: ...

    def is_sleeping(self) -> bool: ...


class SleepingEngine(Engine):
    """An engine that sleeps and wakes through its sleeper."""

    # At which level it sleeps, 0 while it is awake: as every engine is that has just been started.
    _level = 0

    def _sleeper(self) -> Sleeper:
        raise NotImplementedError

    @property
    def asleep(self) -> bool:
        return self._level > 0

    def _sleep(self, level: int) -> None:
        """Frees the memory of the KV cache and of the weights; at level 1 these go to the host's memory."""
        self._refuse_sleep(level)
        _ordered("sleep", lambda: self._sleeper().sleep(level))
        if not _ordered("say whether it sleeps", self._sleeper().is_sleeping):
            raise EngineError("vllm was told to sleep, and does not")
        self._level = level

    def _unload(self) -> None:
        """By its sleep mode where it has one; else the server ends."""
        if self._sleeps and not self.info.on_cpu:
            self._sleep(1)
        else:
            super()._unload()

    @property
    def _sleeps(self) -> bool:
        return self.spec.args.get(ARGUMENT, "false").lower() in ("true", "")

    def wake(self) -> None:
        """Takes its memory again, and after level 2 reads the weights anew. Does nothing when it does not sleep.

        Raises:
            EngineError: it did not wake.
        """
        if self.unloaded:
            super().wake()
        if not self._level:
            return
        sleeper = self._sleeper()
        if self._level == 1:
            _ordered("wake", sleeper.wake)
        else:
            _ordered("wake", lambda: sleeper.wake(["weights"]))
            _ordered("read its weights anew", sleeper.reload_weights)
            _ordered("wake", lambda: sleeper.wake(["kv_cache"]))
        if _ordered("say whether it sleeps", sleeper.is_sleeping):
            raise EngineError("vllm was told to wake, and sleeps on; llm_engine.restart() gives a fresh one")
        self._level = 0

    def _refuse_sleep(self, level: int) -> None:
        if level not in _LEVELS:
            levels = ", ".join(f"{number}: {meaning}" for number, meaning in _LEVELS.items())
            raise EngineError(f"vllm: there is no sleep at level {level!r} ({levels})")
        if self.info.on_cpu:
            # It would say that it sleeps, and hold all of its memory.
            raise EngineError(
                "vllm: sleep is not supported here: its sleep mode is for CUDA and ROCm, and this is the CPU"
            )
        if not self._sleeps:
            raise EngineError(f"vllm was started without sleep mode: give --llmperf-engine-arg={ARGUMENT}=true")


class ServerSleeper:
    """Orders a server of ours, which was started with :data:`SERVER_ENVIRON`."""

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
    """Orders a ``vllm.LLM`` of this process."""

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


def _ordered(what: str, order: Callable[[], T]) -> T:
    try:
        return order()
    except urllib.error.HTTPError as error:
        hint = "; VLLM_SERVER_DEV_MODE=1 must be set where it is started" if error.code == 404 else ""
        raise EngineError(f"vllm did not {what}: HTTP {error.code}{hint}") from None
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"vllm did not {what}: {' '.join(str(error).split()) or type(error).__name__}") from error
