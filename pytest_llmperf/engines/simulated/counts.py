"""What the simulated engine counts, and its page for Prometheus."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class SimulatedCounts:
    """Sums since the start; requests by how they ended."""

    requests: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    began: float = field(default_factory=time.time)

    def write_page(self, running: int, waiting: int) -> str:
        """The page of metrics."""
        began = "process_start_time_seconds"  # the usual name, by which a restart is told
        gauges = {"requests_running": ("that have a slot", running), "requests_waiting": ("that wait for one", waiting)}
        counts = {
            "prompt_tokens": ("of prompts", self.prompt_tokens),
            "cached_prompt_tokens": ("of prompts that came from the prefix cache", self.cached_tokens),
            "generation_tokens": ("that were generated", self.generated_tokens),
        }
        lines = [f"# HELP {began} When the server started.", f"# TYPE {began} gauge", f"{began} {self.began:.3f}"]
        for name, (meaning, value) in gauges.items():
            lines += [f"# HELP simulated:{name} Requests {meaning}.", f"# TYPE simulated:{name} gauge"]
            lines += [f"simulated:{name} {value}"]
        for name, (meaning, value) in counts.items():
            lines += [f"# HELP simulated:{name}_total Tokens {meaning}.", f"# TYPE simulated:{name}_total counter"]
            lines += [f"simulated:{name}_total {value}"]
        lines += [
            "# HELP simulated:requests_total Requests by how they ended.",
            "# TYPE simulated:requests_total counter",
        ]
        outcomes = ("answered", "failed", "cut", "disconnected")
        lines += [f'simulated:requests_total{{outcome="{name}"}} {self.requests[name]}' for name in outcomes]
        return "\n".join([*lines, ""])
