"""How many examples each property is tried with, and that the same ones are tried on unchanged code."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis.configuration import set_hypothesis_home_dir

# What Hypothesis keeps lies with the other caches of the project.
set_hypothesis_home_dir(Path(__file__).parents[2] / ".cache" / "hypothesis")

EXAMPLES = "LLMPERF_FUZZ_EXAMPLES"
_FEW = 60
# No time is looked at: a host may be slow. A test writes into one folder again and again.
# Without the search for what else fails, which takes minutes.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
_ALLOWED = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large)

settings.register_profile(
    "llmperf",
    max_examples=_FEW,
    derandomize=True,
    database=None,
    deadline=None,
    phases=_PHASES,
    suppress_health_check=_ALLOWED,
)
if EXAMPLES in os.environ:
    # A long run tries others each time, and begins with those that failed before.
    settings.register_profile(
        "llmperf-long",
        max_examples=int(os.environ[EXAMPLES]),
        deadline=None,
        phases=_PHASES,
        suppress_health_check=_ALLOWED,
        print_blob=True,
    )
settings.load_profile("llmperf-long" if EXAMPLES in os.environ else "llmperf")
