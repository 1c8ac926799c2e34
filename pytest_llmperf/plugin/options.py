"""One table of options: command line beats ini beats default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_llmperf.engines.registry import BUILT_IN
from pytest_llmperf.plugin.baselines.asked import NAME

if TYPE_CHECKING:
    import pytest


class Option(NamedTuple):
    """One option and its ini twin: the flag without its dashes in front, ``-`` as ``_``.

    The value of an ``optional`` one may be left out.

    ``without`` says what holds when the option is not given, where the default value does not tell. ``negation`` is the
    help of ``--llmperf-no-NAME``; empty if there is no such flag.
    """

    flag: str
    kind: str
    default: Any
    metavar: str | None
    help: str
    without: str = ""
    negation: str = ""

    @property
    def name(self) -> str:
        """The name of the ini twin, also the key of the parsed value."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def negative_flag(self) -> str:
        """``--llmperf-no-strict`` for ``--llmperf-strict``."""
        return self.flag.replace("--llmperf-", "--llmperf-no-")

    @property
    def default_text(self) -> str:
        """What holds when the option is not given, for people; empty if nothing is set."""
        if self.without or self.kind == "bool" or self.default in (None, ()):
            return self.without
        return f"{self.default:g}" if self.kind == "float" else str(self.default)

    @property
    def full_help(self) -> str:
        """The help with the default behind it, as ``pytest --help`` shows it."""
        return f"{self.help} Default: {self.default_text}." if self.default_text else self.help


OPTIONS = (
    Option(
        "--llm-engine",
        "list",
        (),
        "[LABEL=]NAME[:MODEL]",
        f"Engine to run the tests on: {', '.join(BUILT_IN)}, or one that another package adds. Repeat it to run the "
        "suite once per engine; a label tells two variants of one engine apart.",
        "none, and tests that need an engine are skipped; a strict run whose budgets are all skipped fails",
    ),
    Option(
        "--llmperf-model",
        "string",
        None,
        "ID",
        "Model for engines named without one, in the engine's own words: a hub id, a folder, a name, a path to a GGUF.",
        "the engine's own default, if it has one",
    ),
    Option(
        "--llmperf-url",
        "list",
        (),
        "[ENGINE or LABEL:]URL",
        "Use the server that already runs there; it is never stopped. Repeatable, for several engines.",
    ),
    Option(
        "--llmperf-engine-arg",
        "list",
        (),
        "[ENGINE or LABEL:]KEY=VALUE",
        "Setting passed on to the engine; repeatable.",
    ),
    Option(
        "--llmperf-engine-bin",
        "list",
        (),
        "[ENGINE or LABEL:]PATH",
        "Program to run an engine with, or the python of its environment, if it is installed elsewhere; repeatable.",
        "the vllm of this environment, the ollama on the PATH, the llama.cpp of the wheel",
    ),
    Option("--llmperf-startup-timeout", "float", 300.0, "SECONDS", "How long an engine may take to become ready."),
    Option(
        "--llmperf-request-timeout",
        "float",
        120.0,
        "SECONDS",
        "The longest silence of a server, while connecting too, before a request fails; an answer that is not streamed "
        "must come within it. A load to which nothing at all comes for so long ends.",
    ),
    Option(
        "--llmperf-pull",
        "bool",
        None,
        None,
        "Let an engine download a missing model.",
        "on, but off for a server that was already running",
        "A missing model fails the tests that need it.",
    ),
    Option(
        "--llmperf-gpus",
        "string",
        "auto",
        "auto|0,2|UUID|MIG-...",
        "Devices to use, counted inside the caller's CUDA_VISIBLE_DEVICES; auto: all of them.",
    ),
    Option(
        "--llmperf-busy-gpu",
        "string",
        None,
        "fail|warn",
        "What to do if other processes compute on the GPU before the first engine starts, or its memory does not "
        "settle: fail the tests that need an engine, or warn.",
        "fail where CI is set, else warn",
    ),
    Option(
        "--llmperf-dcgm",
        "list",
        (),
        "URL",
        "DCGM exporter of another host on which an engine runs; repeatable.",
    ),
    Option(
        "--llmperf-metrics",
        "list",
        (),
        "[ENGINE or LABEL:]URL",
        "Prometheus page that the [metrics] of llmperf.toml are read from; repeatable.",
        "the /metrics of the engine's server",
    ),
    Option("--llmperf-sample-hz", "float", 200.0, "N", "Memory samples per second, up to 1000."),
    Option(
        "--llmperf-against",
        "string",
        None,
        "LABEL",
        "Compare the other of two --llm-engine with the one of this label: each test with budgets runs on both by "
        "turns, 3 to 24 times, and its limits are judged by the ratio. Each may be worse by what its relative limit "
        "says, else by 10 %.",
    ),
    Option(
        "--llmperf-seed",
        "int",
        None,
        "N",
        "Seed of the random order of turns under --llmperf-against.",
        "another one in each run, which its header names",
    ),
    Option(
        "--llmperf-rounds",
        "string",
        "1",
        "N|auto",
        "How often the body of a measured test runs; all rounds are one measurement. auto: until each of its budgets "
        "is decided, or its allowance is spent. Tests that use the benchmark fixture are not repeated.",
    ),
    Option(
        "--llmperf-max-rounds",
        "int",
        30,
        "N",
        "Of a test that goes on until its budgets are decided: how often they are judged at most, which is the number "
        "of its rounds, or of the stretches of its loads; 2 to 30.",
    ),
    Option(
        "--llmperf-max-seconds",
        "float",
        120.0,
        "SECONDS",
        "Of such a test: how long it takes at most; a round or stretch that would end later is not begun.",
    ),
    Option("--llmperf-warmup", "int", 0, "N", "How often the body of a measured test runs first, unmeasured."),
    Option(
        "--llmperf-engine-warmup",
        "bool",
        True,
        None,
        "Send each engine that is started here one short request before its first measured test; no test counts it.",
        "on, but not for tests that limit startup or start the engine themselves",
        "The first measured test meets a cold engine.",
    ),
    Option(
        "--llmperf-strict",
        "bool",
        None,
        None,
        "Fail a test if one of its budgets has no verdict (not measured, invalid, no budget for this device, no "
        "baseline), and a run with budgets that no test reads.",
        "on where CI is set",
        "Only broken budgets fail a test, in CI too.",
    ),
    Option(
        "--llmperf-on-inconclusive",
        "string",
        "pass",
        "pass|fail",
        "What a test does whose budget is too close to its limit to tell.",
    ),
    Option(
        "--llmperf-session-noise",
        "string",
        None,
        "SHARE",
        "How much sessions on this machine differ: the standard deviation of rates and latencies between them, such as "
        "5%. It widens the intervals of all verdicts.",
        "unknown, and left out of the intervals",
    ),
    Option(
        "--llmperf-table",
        "bool",
        None,
        None,
        "Show at the end what each test measured, with budgets or without.",
        "tests without budgets only",
        "Show the budgets only.",
    ),
    Option(
        "--llmperf-report",
        "list",
        (),
        "PATH",
        "Write a report; the suffix picks its format: .json, .md, .html, or one that a plugin adds. Repeatable.",
    ),
    Option(
        "--llmperf-save",
        "optional",
        None,
        "NAME",
        "Store what this run measured, as a baseline of this name, for later runs to be compared with. Not if the run "
        "failed or a budget has no verdict.",
        "nothing is stored; without NAME, main",
    ),
    Option(
        "--llmperf-save-anyway",
        "bool",
        False,
        None,
        "With --llmperf-save: store the run even if tests failed or budgets have no verdict.",
    ),
    Option(
        "--llmperf-compare",
        "string",
        None,
        "NAME",
        "The baseline that relative limits such as '+10 %' are compared with; the change of other limited metrics is "
        "shown as well.",
        "main, for relative limits only",
    ),
    Option(
        "--llmperf-store",
        "string",
        None,
        "PATH",
        "The folder that baselines are stored in.",
        ".llmperf beside the ini file, or in the root folder",
    ),
    Option(
        "--llmperf-save-reference",
        "string",
        None,
        "FILE",
        "Write the next tokens of this run's engine, at the positions of the texts of its quality budgets, to a file "
        "that later runs name with against=FILE.",
        "off",
    ),
    Option(
        "--llmperf-calibrate",
        "int",
        0,
        "N",
        "Run the suite N times, 3 or more, each with fresh engines, and tell of each budget how often it fails a good "
        "build, what it finds, and which limit fits. The runs are saved under the name calibration.",
        "off",
    ),
    Option(
        "--llmperf-keep-engine",
        "float",
        0.0,
        "SECONDS",
        "Leave the engine running for this long after the session; the next run with this option reuses it.",
        "0, it is stopped",
    ),
    Option(
        "--llmperf-share",
        "string",
        "engine",
        "engine|devices",
        "What workers of pytest-xdist share: one engine, on which they measure in turn, or the devices, of which each "
        "worker gets its own with an engine on them.",
    ),
    Option(
        "--llmperf-relay-host",
        "string",
        None,
        "ADDRESS",
        "Where llm_client.base_url listens, for apps in containers: an address of this host, such as 172.17.0.1. "
        "Whoever reaches it and knows the address, which has a token in its path, can use the engine.",
        "loopback, which only this host reaches",
    ),
    Option("--llmperf-disable", "bool", False, None, "Collect and run the tests, but measure and judge nothing."),
)
_INI_TYPES = {
    "optional": "string",
    "list": "linelist",
    "string": "string",
    "float": "float",
    "int": "int",
    "bool": "bool",
}


def add_options(parser: pytest.Parser) -> None:
    """Registers every option and its ini twin."""
    group = parser.getgroup("llmperf", "LLM performance budgets (pytest-llmperf)")
    for option in OPTIONS:
        name, text, metavar = option.name, option.full_help.replace("%", "%%"), option.metavar
        if option.kind == "bool":
            group.addoption(option.flag, action="store_true", default=None, dest=name, help=text)
        elif option.kind == "optional":
            group.addoption(option.flag, nargs="?", const=NAME, default=None, dest=name, metavar=metavar, help=text)
        elif option.kind == "list":
            group.addoption(option.flag, action="append", default=None, dest=name, metavar=metavar, help=text)
        else:
            convert = {"float": float, "int": int}.get(option.kind, str)
            group.addoption(option.flag, type=convert, default=None, dest=name, metavar=metavar, help=text)
        if option.negation:
            negative = option.negative_flag
            group.addoption(negative, action="store_false", default=None, dest=name, help=option.negation)
        parser.addini(name, option.full_help, type=_INI_TYPES.get(option.kind, "string"), default=option.default)  # type: ignore[arg-type]
