"""What is read from vLLM's log: the whole start of a server on the CPU, and lines of servers elsewhere."""

from __future__ import annotations

import pytest

from pytest_llmperf.engines.vllm.log import Startup, find_reason, find_stage
from tests.helpers.captured import captured

LOG = captured("vllm-start.log")
GIB = 2**30
CUDA = """\
(EngineCore pid=1) INFO 11-25 03:42:28 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='m', \
dtype=torch.bfloat16, max_seq_len=2048, tensor_parallel_size=2, pipeline_parallel_size=1, quantization=None, \
device_config=cuda,
(Worker_TP0 pid=2) INFO 11-25 03:42:43 [gpu_model_runner.py:5150] Model loading took 1.5 GiB memory and 2.1 seconds
(Worker_TP0 pid=2) INFO 11-25 03:42:43 [gpu_worker.py:760] Available KV cache memory: 10.25 GiB
"""


def up_to(text: str) -> str:
    """The log as it was when this had just been written."""
    return LOG[: LOG.index(text) + len(text)]


@pytest.mark.parametrize(
    ("last", "doing"),
    [
        ("non-default args:", ""),
        ("Resolved architecture: LlamaForCausalLM", "starting its processes"),
        ("Starting to load model", "loading weights"),
        ("checkpoint shards:   0%", "loading weights (0 %)"),
        ("checkpoint shards: 100%", "loading weights (100 %)"),
        ("init engine (profile", "opening its API"),
    ],
)
def test_it_says_what_a_starting_server_is_doing(last: str, doing: str) -> None:
    assert find_stage(up_to(last)) == doing


@pytest.mark.parametrize(
    ("line", "doing"),
    [
        ("model-00001-of-00002.safetensors:  12%|█▏        | 597M/4.98G [00:10<01:10]", "downloading the model (12 %)"),
        ("Fetching 2 files:   0%|          | 0/2", "downloading the model"),
        ("Loading safetensors checkpoint shards:  50% Completed | 1/2", "loading weights (50 %)"),
        ("INFO [monitor.py:40] Starting torch.compile", "compiling"),
        ("INFO [cpu_model_runner.py:87] Warming up model for the compilation...", "compiling"),
        ("INFO [monitor.py:62] torch.compile took 12.3 s in total", "setting up its KV cache"),
        ("Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  40%|████", "capturing graphs (40 %)"),
    ],
)  # fmt: skip
def test_the_stages_of_a_server_on_a_gpu_are_known_too(line: str, doing: str) -> None:
    assert find_stage(f"{LOG[:3000]}\n{line}") == doing


def test_a_log_without_a_known_line_says_nothing() -> None:
    assert find_stage("") == find_stage("hello\n") == ""


def test_a_server_on_the_cpu_is_known_by_its_device_and_states_no_sizes() -> None:
    assert Startup.read(LOG) == Startup(on_cpu=True, workers=1, dtype="bfloat16")


def test_sizes_of_one_worker_stand_for_all_where_only_the_first_states_them() -> None:
    startup = Startup.read(CUDA)
    assert (startup.on_cpu, startup.workers) == (False, 2)
    assert (startup.weights_bytes, startup.kv_bytes) == (3 * GIB, 20.5 * GIB)


def test_sizes_that_each_worker_states_are_added() -> None:
    both = CUDA + CUDA.splitlines()[1].replace("TP0", "TP1").replace("1.5 GiB", "1.6 GiB")
    assert Startup.read(both).weights_bytes == pytest.approx(3.1 * GIB)


def test_a_quantized_model_is_not_computed_in_the_type_of_its_tensors() -> None:
    assert Startup.read(CUDA.replace("quantization=None", "quantization=fp8")).dtype == ""


FAILED_CORE = """\
(EngineCore pid=7408) ERROR 11-25 04:01:02 [core.py:1401] EngineCore failed to start.
(EngineCore pid=7408) ERROR 11-25 04:01:02 [core.py:1401] Traceback (most recent call last):
(EngineCore pid=7408) ERROR 11-25 04:01:02 [core.py:1401]     raise ValueError(
(EngineCore pid=7408) ERROR 11-25 04:01:02 [core.py:1401] ValueError: To serve at least one request, 2 GiB are needed
(APIServer pid=7261) Traceback (most recent call last):
(APIServer pid=7261)   File "/site-packages/vllm/v1/engine/utils.py", line 1431, in wait_for_engine_startup
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}
"""
VALIDATION = """\
(APIServer pid=1) pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
(APIServer pid=1)   Value error, User-specified max_model_len (999999) is too large. \
[type=value_error, input_value=ArgsKwargs((), {'model': 'm'}), input_type=ArgsKwargs]
    For further information visit the documentation
"""
HUB = """\
httpcore.ConnectError: [Errno -2] Name or service not known

The above exception was the direct cause of the following exception:

OSError: We couldn't connect to the hub to load the files, and couldn't find them in the cached files.
Check your internet connection.
"""


DEAD_CORE = """\
(EngineCore pid=2) ERROR 11-25 04:01:02 [core.py:1401] EngineCore encountered a fatal error.
(EngineCore pid=2) ERROR 11-25 04:01:02 [core.py:1401] Traceback (most recent call last):
(EngineCore pid=2) ERROR 11-25 04:01:02 [core.py:1401] torch.OutOfMemoryError: CUDA out of memory.
(APIServer pid=1) ERROR 11-25 04:01:03 [core_client.py:600] Engine core proc EngineCore_DP0 died unexpectedly, \
shutting down client.
(APIServer pid=1) vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace \
(above) for the root cause.
"""


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (DEAD_CORE, "OutOfMemoryError: CUDA out of memory."),
        (
            "\n".join(DEAD_CORE.splitlines()[3:]),
            "Engine core proc EngineCore_DP0 died unexpectedly",
        ),
        (
            "(APIServer pid=1) WARNING [core_client.py:817] [shutdown] MPClient: engine core exited unexpectedly; bye",
            "engine core exited unexpectedly",
        ),
        (
            "(EngineCore pid=2) ERROR [x.py:1] Worker proc VllmWorker-0 died unexpectedly, shutting down executor.\n"
            "(EngineCore pid=2) ERROR 11-25 04:01:02 [core.py:1401] RuntimeError: Executor failed.\n"
            + "\n".join(DEAD_CORE.splitlines()[3:]),
            "Worker proc VllmWorker-0 died unexpectedly",
        ),
        (
            "usage: api_server.py [-h]\n  [model_tag]\napi_server.py: error: unrecognized arguments: --no-such=1\n",
            "unrecognized arguments: --no-such=1",
        ),
        (FAILED_CORE, "ValueError: To serve at least one request, 2 GiB are needed"),
        (VALIDATION, "User-specified max_model_len (999999) is too large."),
        (VALIDATION.replace("(APIServer pid=1) ", ""), "User-specified max_model_len (999999) is too large."),
        (HUB, "OSError: We couldn't connect to the hub to load the files, and couldn't find them in the cached files."),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n",
            "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ),
        (LOG, ""),
        ("", ""),
    ],
    ids=[
        "dead core",
        "killed core",
        "exited core",
        "killed worker",
        "usage",
        "engine core",
        "validation",
        "validation without prefix",
        "hub",
        "memory",
        "none",
        "empty",
    ],
)
def test_why_it_did_not_start_is_said_in_its_own_words(log: str, words: str) -> None:
    assert find_reason(log) == words
