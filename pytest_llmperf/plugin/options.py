"""One table of options: command line beats ini beats default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pytest


class Option(NamedTuple):
    """One option and its ini twin: the flag without its dashes in front, ``-`` as ``_``."""

    flag: str
    kind: str
    default: Any
    metavar: str | None
    help: str

    @property
    def name(self) -> str:
        return self.flag.removeprefix("--").replace("-", "_")


OPTIONS = (
    Option(
        "--llm-engine",
        "list",
        (),
        "NAME[:MODEL]",
        "Engine to run the tests on: vllm, ollama, llamacpp, openai (attach to any OpenAI-compatible server) or "
        "simulated. Repeat it to run the suite once per engine.",
    ),
    Option(
        "--llmperf-model", "string", None, "ID", "Model of the engines named without one, in the engine's own words."
    ),
    Option("--llmperf-url", "string", None, "URL", "Use the server that already runs there; it is never stopped."),
    Option(
        "--llmperf-engine-arg",
        "list",
        (),
        "[ENGINE:]KEY=VALUE",
        "Setting passed on to the engine; may be repeated.",
    ),
    Option(
        "--llmperf-engine-bin",
        "list",
        (),
        "[ENGINE:]PATH",
        "Program to run the engine with, for engines that live in another environment.",
    ),
    Option("--llmperf-startup-timeout", "float", 300.0, "SECONDS", "How long an engine may take to become ready."),
    Option(
        "--llmperf-pull",
        "bool",
        None,
        None,
        "Let ollama pull a model that it does not have. On by default, but for a server that was running already; "
        "--llmperf-no-pull turns it off.",
    ),
    Option(
        "--llmperf-gpus",
        "string",
        "auto",
        "auto|0,2|UUID|MIG-...",
        "Devices to use, counted inside the caller's CUDA_VISIBLE_DEVICES.",
    ),
    Option(
        "--llmperf-busy-gpu",
        "string",
        None,
        "fail|warn",
        "What to do when others compute on the GPU before the first engine starts, or its memory does not settle: fail "
        "the tests that need an engine, or warn. fail by default when CI is set, else warn.",
    ),
    Option(
        "--llmperf-dcgm",
        "list",
        (),
        "URL",
        "DCGM exporter of a host that an engine runs on which is not this one; may be repeated.",
    ),
    Option("--llmperf-sample-hz", "float", 200.0, "N", "Memory samples per second."),
    Option(
        "--llmperf-rounds", "int", 1, "N", "How often the body of a measured test runs; all rounds are one measurement."
    ),
    Option("--llmperf-warmup", "int", 0, "N", "How often the body of a measured test runs first, unmeasured."),
    Option(
        "--llmperf-strict",
        "bool",
        None,
        None,
        "Fail a test whose budget got no verdict (not measured, invalid, no budget for this device). "
        "On by default when CI is set; --llmperf-no-strict turns it off.",
    ),
    Option(
        "--llmperf-report",
        "list",
        (),
        "PATH",
        "Write a report; the suffix picks its format: .json, .md, or one that a plugin adds. May be repeated.",
    ),
    Option(
        "--llmperf-keep-engine",
        "float",
        0.0,
        "SECONDS",
        "Leave the engine running for so long after the session; the next run with this option finds it again.",
    ),
    Option(
        "--llmperf-share",
        "string",
        "engine",
        "engine|devices",
        "What workers of pytest-xdist share: one engine, on which they measure in turn; or the devices, of which each "
        "worker gets its own, with an engine on them.",
    ),
    Option("--llmperf-disable", "bool", False, None, "Collect and run the tests, measure and judge nothing."),
)
_INI_TYPES = {"list": "linelist", "string": "string", "float": "float", "int": "int", "bool": "bool"}


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("llmperf", "LLM performance budgets (pytest-llmperf)")
    for option in OPTIONS:
        flag, kind, default, metavar, text = option
        name = option.name
        if kind == "bool":
            group.addoption(flag, action="store_true", default=None, dest=name, help=text)
        elif kind == "list":
            group.addoption(flag, action="append", default=None, dest=name, metavar=metavar, help=text)
        else:
            convert = {"float": float, "int": int}.get(kind, str)
            group.addoption(flag, type=convert, default=None, dest=name, metavar=metavar, help=text)
        parser.addini(name, text, type=_INI_TYPES[kind], default=default)  # type: ignore[arg-type]
    group.addoption(
        "--llmperf-no-pull",
        action="store_false",
        default=None,
        dest="llmperf_pull",
        help="A model that the engine does not have fails the tests that need it.",
    )
    group.addoption(
        "--llmperf-no-strict",
        action="store_false",
        default=None,
        dest="llmperf_strict",
        help="Only broken budgets fail a test, in CI too.",
    )
