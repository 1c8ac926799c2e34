"""Everything that can only be found out on a machine with a GPU, in one command, with the figures at the end.

The status is 0 when all is well, 1 when something is wrong or a test failed, 2 when there is no GPU to be used.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.telemetry.records.source import SourceError
from pytest_llmperf.telemetry.sampler.client import DEFAULT_HZ, SamplerError
from pytest_llmperf.traffic.llm_client import RequestFailed
from scripts.gpu_check import costs, counter, memory_calls, perturbation, pids
from scripts.gpu_check.cuda import CudaError
from scripts.gpu_check.figures import Figures, mib
from scripts.gpu_check.gpu import Gpu, Host
from scripts.gpu_check.program import Program

_ROOT = Path(__file__).resolve().parents[2]
_TESTS = "tests/gpu/test_real_gpu.py"
_TESTS_TIMEOUT_S = 3600.0


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/gpu-check", description=__doc__)
    parser.add_argument("--gpu", help="the device, as in CUDA_VISIBLE_DEVICES (default: the first of the caller's own)")
    parser.add_argument(
        "--engine", help="the engine to sample beside (default: vllm if installed and --model is given)"
    )
    parser.add_argument("--model", help="the engine's model")
    parser.add_argument("--engine-bin", help="the engine's program, for one that lives in another environment")
    parser.add_argument("--engine-arg", action="append", default=[], metavar="KEY=VALUE", help="passed to the engine")
    parser.add_argument("--calls", type=int, default=200, help="how often each call of the driver is timed")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long energy is compared, and each load works")
    parser.add_argument("--pairs", type=int, default=6, help="how often each load runs without and with sampling")
    parser.add_argument("--hz", type=float, default=DEFAULT_HZ, help="the rate of the sampling beside the load")
    parser.add_argument("--no-tests", action="store_true", help="leave out the tests with allocations of known size")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = read_arguments(arguments)
    try:
        host = Host()
        gpu = host.gpu(options.gpu)
    except SourceError as error:
        print(f"There is no GPU to check: {error}")
        return 2
    figures = Figures()
    try:
        check(host, gpu, figures, options)
    except (SourceError, SamplerError, EngineError, RequestFailed, CudaError) as error:
        figures.wrong(str(error))
    finally:
        host.close()
    if not options.no_tests:
        _section("Tests with allocations of known size and length")
        if status := _run_tests(gpu.facts.uuid):
            figures.wrong(f"{_TESTS} ended with status {status}")
    _section("The figures")
    print(figures.block())
    return 1 if figures.problems else 0


def check(host: Host, gpu: Gpu, figures: Figures, options: argparse.Namespace) -> None:
    _section("Driver and devices")
    _devices(host, gpu, figures)
    spec = _spec(options, gpu.facts.uuid)
    with ExitStack() as stack:
        program = _program(gpu, figures, stack)
        _section("What the calls of the sampler cost")
        costs.report(gpu, figures, options.calls)
        _section("What the memory calls count")
        memory_calls.report(gpu, program, figures)
        if program is not None:
            _section("Whether pids can be matched")
            program.hold("listed", 64 << 20)
            pids.report(gpu, program.pid, figures)
            program.free("listed")
        _section("The energy counter")
        counter.report(gpu, program, figures, options.seconds)
        if spec is None and program is not None:
            _section("What sampling does to latencies")
            _perturb(gpu, program.latencies, figures, options)
    if spec is not None:  # which needs the device for itself
        _section("What sampling does to latencies")
        with perturbation.engine_load(spec) as (load, pid):
            pids.report(gpu, pid, figures, f"{spec.engine}, as a process")
            _perturb(gpu, load, figures, options)


def _perturb(gpu: Gpu, load: perturbation.Load, figures: Figures, options: argparse.Namespace) -> None:
    with perturbation.sampling(gpu.facts.uuid, options.hz) as switch:
        effects = perturbation.interleave(load, switch, pairs=options.pairs, seconds=options.seconds)
    for what, effect in effects.items():
        figures.add(f"sampling at {options.hz:g} Hz, {what}", str(effect))


def _devices(host: Host, gpu: Gpu, figures: Figures) -> None:
    figures.add("driver", host.version)
    for facts in host.devices:
        chosen = " (this one is checked)" if facts == gpu.facts else ""
        size = "" if facts.total_bytes is None else f", {mib(facts.total_bytes)}"
        figures.add(f"device {facts.index}", f"{facts.name}, {facts.uuid}{size}{chosen}")
    for reason in host.unlisted:
        figures.add("not listed", reason)
    try:
        for process in gpu.processes():
            print(f"warning: {process} computes on it, which will show in the figures")
    except SourceError as error:
        figures.add("processes", str(error))


def _program(gpu: Gpu, figures: Figures, stack: ExitStack) -> Program | None:
    try:
        return stack.enter_context(Program(gpu.facts.uuid))
    except CudaError as error:
        figures.wrong(str(error))
        return None


def _spec(options: argparse.Namespace, uuid: str) -> EngineSpec | None:
    engine = options.engine or ("vllm" if options.model and shutil.which("vllm") else None)
    if engine is None:
        return None
    pairs = [text.partition("=") for text in options.engine_arg]
    arguments = {key: value for key, _, value in pairs}
    return EngineSpec(engine, options.model, args=arguments, binary=options.engine_bin, visible_devices=uuid)


def _run_tests(uuid: str) -> int:
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", _TESTS]
    return subprocess.run(
        command, cwd=_ROOT, env=os.environ | {"CUDA_VISIBLE_DEVICES": uuid}, timeout=_TESTS_TIMEOUT_S
    ).returncode


def _section(title: str) -> None:
    print(f"\n== {title}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
