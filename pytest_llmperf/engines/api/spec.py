"""What an engine is asked to be, and the error of one that cannot be it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pytest_llmperf.measurement.engine_info import name_model
from pytest_llmperf.system.known_keys import hide_keys
from pytest_llmperf.system.masking import is_secret, mask_secrets
from pytest_llmperf.system.printable import make_printable

# Where a server listens, and which process it is, differs from run to run without changing what is measured.
_ADDRESSES = ("port", "host", "pid")
# The folders of a path that is absolute, or relative by its form; what stands before it is no part of a URL or hub id.
_FOLDERS = re.compile(r"""(?<![\w.:/~-])(?:file://|~[\w.-]*|\.{1,2})?/(?:[^\s"',;:=/]+/)*(?=[^\s"',;:=/])""")

# Takes a line about what an engine is doing.
Progress = Callable[[str], None]


class EngineError(Exception):
    """An engine cannot do what it was asked. The message is one line that says why and what to do next.

    It may quote a server: keys are hidden, and what cannot be printed is replaced.

    ``log_tail`` is the end of the engine's own log, ``log_path`` where all of it is kept; empty if there is none.
    """

    def __init__(self, message: str, log_tail: str = "", log_path: str = "") -> None:
        super().__init__(make_printable(hide_keys(message)))
        self.log_tail = make_printable(hide_keys(log_tail))
        self.log_path = log_path


@dataclass(frozen=True)
class EngineSpec:
    """What was asked for: enough to start an engine, and to tell two engines apart.

    Attributes:
        engine: the name it is registered by.
        variant: the label that tells it from other engines of its name; empty if it was given none.
        model: in the engine's own words; None for its default.
        url: the server to attach to; None to start one.
        args: the engine's own settings, as text.
        binary: the program to run; None for the engine's default.
        startup_timeout: seconds until a start is given up.
        visible_devices: the CUDA_VISIBLE_DEVICES to start it with; None for the caller's.
        keep: seconds for which it outlives the session; 0 to end with it.
        pull: whether a missing model may be downloaded; None leaves it to the engine.
        run: the folder of the run whose processes share it; empty if there is one process only.
    """

    engine: str
    model: str | None = None
    url: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    binary: str | None = None
    startup_timeout: float = 300.0
    visible_devices: str | None = None
    keep: float = 0.0
    pull: bool | None = None
    run: str = ""
    variant: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for specs that one engine satisfies. Two variants are two engines, even with equal settings."""
        return (self.engine, self.variant, self.model, self.url, tuple(sorted(self.args.items())), self.binary)

    @property
    def label(self) -> str:
        """What names it in a run of several engines, also in the ids of tests: its variant, else its name and model."""
        return self.variant or self.name_and_model

    @property
    def name_and_model(self) -> str:
        """``llamacpp``, or ``llamacpp:MODEL`` if one was named; of a path only the last part."""
        return self.engine if self.model is None else f"{self.engine}:{name_model(self.model)}"

    @property
    def title(self) -> str:
        """Its variant, else the name of its engine: what messages call it."""
        return self.variant or self.engine

    @property
    def names(self) -> tuple[str, ...]:
        """All that a user may call it by."""
        return tuple(dict.fromkeys((self.label, self.engine, self.name_and_model)))

    @property
    def stated_arguments(self) -> tuple[tuple[str, str], ...]:
        """The engine's own settings as they were given, sorted, for people and for other hosts.

        Secrets, addresses and pids are left out; of a path the last part is left.
        """
        stated = {key: _FOLDERS.sub("", mask_secrets(value)) for key, value in self.args.items() if not is_secret(key)}
        return tuple(sorted((key, value) for key, value in stated.items() if key not in _ADDRESSES))
