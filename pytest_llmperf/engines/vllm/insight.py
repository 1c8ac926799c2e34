"""What a vLLM server says of itself: its metrics, and its log while it starts."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.insight import Insight
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.attached.adapters import list_model_adapters
from pytest_llmperf.engines.kv_cache import checkpoint
from pytest_llmperf.engines.vllm.arguments import SHARE_CAVEAT, sizes_kv_cache
from pytest_llmperf.engines.vllm.metrics import (
    Counters,
    build_metrics_url,
    build_requests_url,
    count_requests,
    read_kv_pool,
    read_reserved,
)
from pytest_llmperf.engines.vllm.observation import VLLMObservation
from pytest_llmperf.measurement.reading import Missing, Reading
from pytest_llmperf.system.prometheus import MetricsPage
from pytest_llmperf.telemetry.cpu import cpu_device

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.deployment import Deployment
    from pytest_llmperf.engines.kv_cache.looks import KVPool
    from pytest_llmperf.engines.vllm.log import Startup
    from pytest_llmperf.engines.vllm.server import VLLMServer
    from pytest_llmperf.system.prometheus import Sample


class VLLMInsight(Insight):
    """What any vLLM server states in its metrics."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._pool: KVPool | None = None

    def refresh(self) -> None:
        self._pool = read_kv_pool(read_metrics(self._deployment.base_url))

    def readings(self) -> dict[str, Reading]:
        """The size of its KV cache."""
        return {"memory.kv_reserved": read_reserved(self._pool)}

    def count_running(self) -> int | Missing:
        try:
            with closing(MetricsPage(build_requests_url(self._deployment.base_url))) as page:
                return count_requests(page.read())
        except (OSError, ValueError) as error:
            return Missing(str(error))

    def list_adapters(self) -> dict[str, str]:
        """Those in its list of models."""
        return list_model_adapters(self._deployment.base_url, self._deployment.api_key)

    def observe(self) -> VLLMObservation:
        return VLLMObservation(self._deployment, self.readings, self._pool, self.watch_page)


class VLLMServerInsight(VLLMInsight):
    """What a vLLM server that was started here states in its metrics and its log."""

    def __init__(self, server: VLLMServer) -> None:
        super().__init__(server)
        self._server = server
        self._weights = Reading.missing("vllm was not started")
        for_cpu = server.environment.for_cpu
        self.computes_on_gpu = None if for_cpu is None else not for_cpu

    def refresh(self) -> None:
        startup, on_cpu = self._server.startup, self._server.is_on_cpu
        self.computes_on_gpu = not on_cpu
        self.devices = (cpu_device(),) if on_cpu else ()
        self.peak_caveat = "" if on_cpu or sizes_kv_cache(self._server.spec.args) else SHARE_CAVEAT
        self._pool = read_kv_pool(read_metrics(self._server.base_url), startup.workers, startup.kv_bytes)
        self._weights = self._read_weights(startup)

    def _read_weights(self, startup: Startup) -> Reading:
        if startup.weights_bytes is not None:
            return Reading(startup.weights_bytes, "stated by vLLM while loading", samples=1)
        if startup.workers > 1:
            return Reading.missing("this vLLM does not state it, and its checkpoint does not tell what a worker holds")
        return checkpoint.read_weights(self._server.folder, startup.dtype)

    def readings(self) -> dict[str, Reading]:
        """Weights and KV cache as the server stated them while it started."""
        return {"memory.weights": self._weights, **super().readings()}


def read_metrics(base_url: str) -> list[Sample]:
    """A server's metrics, once they are known to be vLLM's.

    Raises:
        EngineError: they are not, or cannot be read.
    """
    page = MetricsPage(build_metrics_url(base_url), timeout=10.0)
    try:
        samples = page.read()
        Counters.of(samples)
    except (OSError, ValueError) as error:
        raise EngineError(f"cannot read the metrics of the server at {base_url}: {error}") from None
    finally:
        page.close()
    return samples
