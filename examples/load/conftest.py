"""How much of the published workload is run, and how the engines are set up for it."""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--scale",
        type=float,
        default=float(os.environ.get("LOAD_SCALE", "0.02")),
        help="share of the published workload to run: 1 is all of it (default: $LOAD_SCALE, or 0.02)",
    )


@pytest.fixture(scope="session")
def scale(pytestconfig):
    return pytestconfig.getoption("scale")


@pytest.fixture(scope="session")
def llm_engine_args():
    # A prompt of 2048 tokens and its answer of 256 need a context of 2304 each: less would refuse or cut some of them.
    return {
        "vllm:kv_cache": "512 MiB",
        "vllm:enforce_eager": True,
        "llamacpp:ctx_size": 4 * 2304,
        "simulated:slots": 64,
    }
