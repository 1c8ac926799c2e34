"""Workloads from files: recorded prompts, chats and conversations, and traces of when requests came and how long."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import REQUESTS_PER_SECOND, SECONDS, format_value
from pytest_llmperf.traffic.workloads.file_entries import read_entries
from pytest_llmperf.traffic.workloads.file_line import FileLine, parse_line, read_stamp, read_time_unit
from pytest_llmperf.traffic.workloads.lengths import parse_lengths
from pytest_llmperf.traffic.workloads.tokenizer import create_counter
from pytest_llmperf.traffic.workloads.trace_units import BlockTokens, TimeUnit
from pytest_llmperf.traffic.workloads.workload import Script, Turn, Workload

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from pytest_llmperf.traffic.workloads.lengths import Lengths
    from pytest_llmperf.traffic.workloads.texts import Texts
    from pytest_llmperf.traffic.workloads.workload import LengthsText


@dataclass(frozen=True)
class FileWorkload(Workload):
    """The requests of the file ``name``, in their order or at their times.

    Attributes:
        lines: the requests.
        output: lengths of the answers whose line gives none.
        times: moment in seconds of each request from the first one, ascending; None without timestamps.
        block_tokens: tokens of a block of a prompt.
        left_out: number of conversations of the file without a message of the user, which are not sent.
        speed: factor by which a trace is sent faster; ``times`` are those of the file.
    """

    name: str
    lines: Sequence[FileLine]
    output: Lengths
    times: Sequence[float] | None
    block_tokens: int
    left_out: int
    speed: float
    seed: int
    chat: bool
    tokenizer: Callable[[str], Any] | None

    @property
    def requests(self) -> int:  # type: ignore[override]
        return len(self.lines)

    @property
    def needs_texts(self) -> bool:
        return any(line.prompt is None for line in self.lines)

    @property
    def has_times(self) -> bool:
        return self.times is not None

    def grow(self, stretch: int) -> Workload:
        raise ValueError(
            f"until='decided' needs more requests than {self.name} holds, and a file is sent once: leave it out, "
            "or give workload(prompt_tokens=..., requests=...)"
        )

    def generate_scripts(self, texts: Texts | None) -> Iterator[Script]:
        for number, line in enumerate(self.lines):
            content = line.prompt if line.prompt is not None else self._generate_text(texts, number, line)
            output = line.output_tokens or self.output.draw(Random(f"{self.seed} output {number}"))
            at_s = None if self.times is None else self.times[number] / self.speed
            yield Script((Turn(content, output, line.prompt_tokens),), "trace" if line.blocks else "", at_s)

    def _generate_text(self, texts: Texts | None, number: int, line: FileLine) -> str:
        assert texts is not None
        assert line.prompt_tokens is not None
        left = max(1, line.prompt_tokens - (0 if self.chat else texts.specials))
        parts = []
        for block in line.blocks:
            size = min(left, self.block_tokens)
            parts.append(texts.generate(Random(f"{self.seed} block {block}"), size) if size else "")
            left -= size
        return "".join([*parts, texts.generate(Random(f"{self.seed} line {number}"), left)])

    def describe(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "file": self.name,
            "content": self._digest_lines(),
            "output_tokens": str(self.output),
            "chat": self.chat,
            "seed": self.seed,
        }
        return {**found, "speed": self.speed} if self.times is not None else found

    def _digest_lines(self) -> str:
        """Tells the requests and their times from others, in memory that does not grow with their number."""
        digest = hashlib.sha256(str(self.block_tokens).encode())
        for number, line in enumerate(self.lines):
            digest.update(repr((line, None if self.times is None else self.times[number])).encode())
        return digest.hexdigest()[:16]

    def __str__(self) -> str:
        parts = [f"the {len(self.lines)} requests of {self.name}"]
        span = self.times[-1] if self.times else 0.0
        if span:
            rate = (len(self.lines) - 1) / span
            parts.append(f"recorded in {format_value(span, SECONDS)} at {format_value(rate, REQUESTS_PER_SECOND)}")
            parts += [f"sent {self.speed:g} times as fast"] if self.speed != 1 else []
        parts += [f"{self.left_out} conversations without a message of the user left out"] if self.left_out else []
        return ", ".join(parts)


def workload_file(
    path: str | os.PathLike[str],
    *,
    output_tokens: LengthsText = 128,
    seed: int = 0,
    speed: float = 1.0,
    time_unit: str | None = None,
    block_tokens: int | None = None,
    tokenizer: Callable[[str], Any] | None = None,
) -> Workload:
    """Reads a workload from a file of JSON lines, a list in JSON or CSV, which may be compressed by gzip.

    Each entry has a ``prompt``, ``messages``, an ``input_length``, or ``conversations`` as ShareGPT has them, of which
    the first message of the user is sent. It may also have ``output_length``, ``output_tokens``, ``max_tokens`` or
    ``max_completion_tokens`` (else ``output_tokens`` counts), ``hash_ids`` (the blocks that prompts share, as in the
    traces of Mooncake), a ``timestamp``, and an ``id``. If all entries have a timestamp the file is a trace: its
    requests are sent at its times. Of CSV the traces of Azure and BurstGPT are read, and columns with these names.

    Args:
        path: the file.
        output_tokens: lengths of the answers whose line gives none; see :func:`workload`.
        seed: of all that is drawn at random.
        speed: factor by which a trace is sent faster.
        time_unit: unit of timestamps: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``. Without it they are milliseconds, or
            what the file shows.
        block_tokens: tokens of a block of ``hash_ids``. Without it 512 or 16, whichever fits all lines.
        tokenizer: a function from a text to its tokens or to their number: for engines that cannot count tokens, and
            for the lengths of recorded answers in ``conversations``.

    Raises:
        ValueError: a line cannot be parsed, with its number; or an argument cannot.
        OSError: the file cannot be read.
    """
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed < float("inf"):
        raise ValueError(f"speed={speed!r} must be above 0")
    source = Path(path)
    found = _Requests(source.name, TimeUnit(time_unit), BlockTokens(block_tokens), create_counter(tokenizer))
    found.read(source)
    times = found.read_times()
    if times is None and (speed != 1 or time_unit is not None):
        argument = f"speed={speed:g}" if speed != 1 else f"time_unit={time_unit!r}"
        raise ValueError(f"{argument} is for a trace; {source.name} has no timestamps")
    return FileWorkload(
        name=source.name,
        lines=found.lines,
        output=parse_lengths(output_tokens, "output_tokens"),
        times=times,
        block_tokens=found.block_tokens.find(source.name),
        left_out=found.left_out,
        speed=speed,
        seed=seed,
        chat=found.chat,
        tokenizer=tokenizer,
    )


class _Requests:
    """The requests of a file while it is read: ``lines``, and the number of entries that are ``left_out``."""

    def __init__(
        self, name: str, time_unit: TimeUnit, block_tokens: BlockTokens, count_tokens: Callable[[str], int] | None
    ) -> None:
        self.lines: list[FileLine] = []
        self.left_out = 0
        self.block_tokens = block_tokens
        self._name = name
        self._time_unit = time_unit
        self._count_tokens = count_tokens
        self._stamps = array("d")
        self._chats = 0

    @property
    def chat(self) -> bool:
        """Whether the requests are messages."""
        return bool(self._chats)

    def read(self, path: Path) -> None:
        """Reads the file.

        Raises:
            ValueError: it has no request, a line cannot be parsed, or its lines are of several kinds.
            OSError: the file cannot be read.
        """
        for place, content, unit in read_entries(path):
            try:
                line, stamp = parse_line(content, self._count_tokens), read_stamp(content)
                if line is not None and content.get("hash_ids") is not None:
                    self.block_tokens.add(line.prompt_tokens or 0, len(line.blocks))
                if line is not None and stamp is not None:
                    self._time_unit.add(place, stamp, unit or read_time_unit(content))
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from None
            self._add(line, stamp)
        if not self.lines:
            raise ValueError(f"{self._name} contains no request")
        if 0 < len(self._stamps) < len(self.lines):
            raise ValueError(
                f"{self._name}: {len(self._stamps)} of {len(self.lines)} lines have a timestamp; "
                "give one to all or to none"
            )
        if 0 < self._chats < len(self.lines):
            raise ValueError(f"{self._name} mixes prompts and messages: give one kind")

    def _add(self, line: FileLine | None, stamp: float | None) -> None:
        if line is None:
            self.left_out += 1
            return
        self.lines.append(line)
        self._chats += isinstance(line.prompt, list)
        if stamp is not None:
            self._stamps.append(stamp)

    def read_times(self) -> array[float] | None:
        """Brings the lines into the order of their timestamps; returns the moments in seconds from the first one.

        None without timestamps.

        Raises:
            ValueError: the unit of the timestamps is not known.
        """
        if not self._stamps:
            return None
        unit, stamps = self._time_unit.find(self._name), self._stamps
        order = sorted(range(len(stamps)), key=stamps.__getitem__)
        self.lines = [self.lines[number] for number in order]
        first = stamps[order[0]]
        return array("d", ((stamps[number] - first) * unit for number in order))
