"""How much of the published comparison is run, on which models, and how the engines are set up for it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest
from quantise import make_variant

# What the publication says that it did.
REQUESTS, PROMPT_TOKENS, OUTPUT_TOKENS, RATE, MODELS = 1000, (128, 2048), 256, 50, 3
SLOTS = 4


@dataclass(frozen=True)
class Comparison:
    """The published workload times ``scale``: 1 is all of it.

    Below 0.2 prompts and answers are shorter as well, and the rate offers this share of the published tokens a second.
    """

    scale: float

    @property
    def length(self) -> float:
        """The share of the published lengths."""
        return max(0.03, min(1.0, 5 * self.scale))

    @property
    def requests(self) -> int:
        """At least 12: the median needs 11."""
        return max(12, round(REQUESTS * self.scale))

    @property
    def prompt_tokens(self) -> str:
        """From the shortest to the longest prompt, both included."""
        return "-".join(str(round(tokens * self.length)) for tokens in PROMPT_TOKENS)

    @property
    def output_tokens(self) -> int:
        """Of each answer."""
        return round(OUTPUT_TOKENS * self.length)

    @property
    def rate(self) -> float:
        """Requests a second of the open loop."""
        return RATE * min(1.0, self.scale / self.length)

    @property
    def context(self) -> int:
        """Tokens that the longest prompt and its answer need, and a few to spare: less would refuse or cut some."""
        return round((PROMPT_TOKENS[1] + OUTPUT_TOKENS) * self.length) + 32


def pytest_addoption(parser):
    group = parser.getgroup("decision table")
    group.addoption(
        "--comparison-scale",
        type=float,
        default=float(os.environ.get("COMPARISON_SCALE", "0.02")),
        help="share of the published workload to run: 1 is all of it (default: $COMPARISON_SCALE, or 0.02)",
    )
    group.addoption(
        "--comparison-model",
        action="append",
        default=[],
        help="further model that is loaded beside that of --llm-engine; repeatable (default: two more of the kind)",
    )


def pytest_itemcollected(item):
    """Names the reference of the quality budget: the first engine of the run, which is another one in each."""
    if getattr(item, "originalname", "") == "test_quality":
        first = next(iter(item.config.getoption("llm_engine") or ["simulated"]))
        label = first.partition("=")[0] if "=" in first.partition(":")[0] else first.partition(":")[0]
        item.add_marker(pytest.mark.quality_budget(agreement="80 %", kl="0.2 nat", against=label))


@pytest.fixture(scope="session")
def comparison(pytestconfig):
    return Comparison(pytestconfig.getoption("comparison_scale"))


@pytest.fixture(scope="session")
def llm_engine_args(comparison):
    # vLLM takes a share of the device for its KV cache unless it is told how much; and on a CPU it has blocks of 128
    # tokens unless it is told otherwise, which short prompts do not fill, so that nothing of them can be shared.
    return {
        "vllm:kv_cache": "512 MiB",
        "vllm:block_size": 32,
        "vllm:max_model_len": comparison.context,
        "vllm:enforce_eager": True,
        "llamacpp:ctx_size": SLOTS * comparison.context,
        "llamacpp:parallel": SLOTS,
        "ollama:num_ctx": comparison.context,
        "ollama:num_parallel": SLOTS,
        "simulated:memory": "64 MiB",
    }


@pytest.fixture
def check_lengths(llm_engine):
    """Checks that answers have the length asked for. Ollama cannot be told to go on to it: some are shorter there."""
    least = 0.8 if llm_engine.name == "ollama" else 1

    def check(result):
        assert result.load.full_answers >= least * len(result.requests)

    return check


@pytest.fixture(scope="session")
def models(llm_engine, llm_engine_factory, pytestconfig):
    """Three engines of one kind with a model each: that of ``--llm-engine``, and two more."""
    spec = llm_engine.spec
    further = pytestconfig.getoption("comparison_model") or list_further(spec)
    engines = [llm_engine]
    for number, model in enumerate(further, 1):
        args = dict(spec.args)
        if spec.engine == "vllm":  # one model twice is one engine, unless its settings differ
            args["max_model_len"] = int(args["max_model_len"]) + 32 * number
        engines.append(llm_engine_factory(spec.engine, model=model, args=args, program=spec.binary))
    return engines


def list_further(spec):
    """The models that are loaded beside the one of an engine, in the engine's own words."""
    if spec.engine in ("llamacpp", "ollama"):
        files = [str(make_variant(name)) for name in ("Q8_0", "Q4_0", "Q4_1")]
        return [file for file in files if file != spec.model][: MODELS - 1]
    if spec.engine == "simulated":
        return ["second", "third"]
    return [spec.model] * (MODELS - 1)
