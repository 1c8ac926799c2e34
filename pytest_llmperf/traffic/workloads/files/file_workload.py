"""Workloads from files: recorded prompts, chats and conversations, and traces of when requests came and how long."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import REQUESTS_PER_SECOND, SECONDS, format_value
from pytest_llmperf.traffic.workloads.files.reader import FileReader
from pytest_llmperf.traffic.workloads.files.trace_units import BlockTokens, TimeUnit
from pytest_llmperf.traffic.workloads.lengths import parse_lengths
from pytest_llmperf.traffic.workloads.tokenizer import create_counter
from pytest_llmperf.traffic.workloads.workload import Script, Turn, Workload

if TYPE_CHECKING:
    import os
    from array import array
    from collections.abc import Callable, Iterator

    from pytest_llmperf.traffic.workloads.files.parsed import ParsedRequest
    from pytest_llmperf.traffic.workloads.files.store import RequestStore
    from pytest_llmperf.traffic.workloads.lengths import Lengths
    from pytest_llmperf.traffic.workloads.texts import Texts
    from pytest_llmperf.traffic.workloads.workload import LengthsText


@dataclass(frozen=True)
class FileWorkload(Workload):
    """The requests of the file ``name``, in their order or at their times.

    Attributes:
        store: the requests.
        requests: their number, counting every turn of a chat.
        output: lengths of the answers for which the file gives none.
        order: the numbers of the requests in the order in which they are sent; None for that of the file.
        times: moment in seconds of each request from the first one, ascending; None without timestamps.
        block_tokens: tokens of a block of a prompt.
        left_out: number of conversations of the file without a message of the user, which are not sent.
        unused: keys of the file that change nothing that is sent.
        speed: factor by which a trace is sent faster; ``times`` are those of the file.
    """

    name: str
    store: RequestStore
    requests: int
    output: Lengths
    order: array[int] | None
    times: array[float] | None
    block_tokens: int
    left_out: int
    unused: tuple[str, ...]
    speed: float
    seed: int
    chat: bool
    tokenizer: Callable[[str], Any] | None

    @property
    def needs_texts(self) -> bool:
        return self.store.needs_texts

    @property
    def has_times(self) -> bool:
        return self.times is not None

    def grow(self, stretch: int) -> Workload:
        raise ValueError(
            f"until='decided' needs more requests than {self.name} holds, and a file is sent once: leave it out, "
            "or give workload(prompt_tokens=..., requests=...)"
        )

    def generate_scripts(self, texts: Texts | None) -> Iterator[Script]:
        for place, number in enumerate(range(len(self.store)) if self.order is None else self.order):
            request = self.store.read(number)
            content = request.prompt if request.prompt is not None else self._generate_text(texts, place, request)
            output = request.output_tokens or self.output.draw(Random(f"{self.seed} output {place}"))
            turns = [Turn(content, output, request.prompt_tokens, request.fields)]
            for turn in request.further:
                drawn = turn.output_tokens or self.output.draw(Random(f"{self.seed} output {place} {len(turns)}"))
                turns.append(Turn(turn.text, drawn, think_s=turn.think_s))
            group = "trace" if request.blocks else f"chat {place}" if request.further else ""
            at_s = None if self.times is None else self.times[place] / self.speed
            yield Script(tuple(turns), group, at_s)

    def _generate_text(self, texts: Texts | None, place: int, request: ParsedRequest) -> str:
        assert texts is not None
        assert request.prompt_tokens is not None
        left = max(1, request.prompt_tokens - (0 if self.chat else texts.specials))
        parts = []
        for block in request.blocks:
            size = min(left, self.block_tokens)
            parts.append(texts.generate(Random(f"{self.seed} block {block}"), size) if size else "")
            left -= size
        return "".join([*parts, texts.generate(Random(f"{self.seed} line {place}"), left)])

    def describe(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "file": self.name,
            "content": self._digest(),
            "output_tokens": str(self.output),
            "chat": self.chat,
            "seed": self.seed,
        }
        return {**found, "speed": self.speed} if self.times is not None else found

    def _digest(self) -> str:
        """Tells the requests and their times from others."""
        columns = [column for column in (self.order, self.times) if column is not None]
        return self.store.digest(str(self.block_tokens).encode(), *columns)

    def __str__(self) -> str:
        parts = [f"the {self.requests} requests of {self.name}"]
        span = self.times[-1] if self.times else 0.0
        if self.times is not None and span:
            rate = (len(self.times) - 1) / span
            parts.append(f"recorded in {format_value(span, SECONDS)} at {format_value(rate, REQUESTS_PER_SECOND)}")
            parts += [f"sent {self.speed:g} times as fast"] if self.speed != 1 else []
        parts += [f"{self.left_out} conversations without a message of the user left out"] if self.left_out else []
        parts += [f"not used: {', '.join(self.unused)}"] if self.unused else []
        return ", ".join(parts)


def workload_file(
    path: str | os.PathLike[str],
    *,
    output_tokens: LengthsText = 128,
    seed: int = 0,
    chat: bool | None = None,
    speed: float = 1.0,
    time_unit: str | None = None,
    block_tokens: int | None = None,
    tokenizer: Callable[[str], Any] | None = None,
) -> Workload:
    """Reads a workload from a file of JSON lines, a list in JSON or CSV, which may be compressed by gzip.

    The formats of ShareGPT, the batches of OpenAI, Mooncake, Bailian, Azure, BurstGPT, vLLM's benchmarks, AIPerf and
    GuideLLM are told apart by what they contain; the reference lists their keys. An entry has one of ``prompt``,
    ``messages``, ``input_length``, ``conversations``, ``turns`` or a name of theirs for it. It may have the length of
    its answer (else ``output_tokens`` counts), ``hash_ids`` (the blocks that prompts share), and a ``timestamp``. If
    all entries have a timestamp the file is a trace: its requests are sent at its times.

    A request takes some numbers of memory; texts lie in a file without a name in the folder for temporary files.

    Args:
        path: the file.
        output_tokens: lengths of the answers for which the file gives none; see :func:`workload`.
        seed: of all that is drawn at random.
        chat: whether messages are sent instead of plain prompts; without it, if the file has messages.
        speed: factor by which a trace is sent faster.
        time_unit: unit of timestamps: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``. Without it they are milliseconds, or
            what the file shows.
        block_tokens: tokens of a block of ``hash_ids``. Without it 512 or 16, whichever fits all lines.
        tokenizer: a function from a text to its tokens or to their number: for engines that cannot count tokens, and
            for the lengths of recorded answers in ``conversations``.

    Raises:
        ValueError: a line cannot be parsed, with its number; or an argument cannot.
        OSError: the file cannot be read, or there is no room for its texts.
    """
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed < float("inf"):
        raise ValueError(f"speed={speed!r} must be above 0")
    source = Path(path)
    found = FileReader(source.name, TimeUnit(time_unit), BlockTokens(block_tokens), create_counter(tokenizer))
    found.read(source)
    order, times = found.sort_by_time()
    if times is None and (speed != 1 or time_unit is not None):
        argument = f"speed={speed:g}" if speed != 1 else f"time_unit={time_unit!r}"
        raise ValueError(f"{argument} is for a trace; {source.name} has no timestamps")
    return FileWorkload(
        name=source.name,
        store=found.store,
        requests=found.turns,
        output=parse_lengths(output_tokens, "output_tokens"),
        order=order,
        times=times,
        block_tokens=found.find_block_tokens(),
        left_out=found.left_out,
        unused=tuple(found.unused),
        speed=speed,
        seed=seed,
        chat=_find_chat(found, chat),
        tokenizer=tokenizer,
    )


def _find_chat(found: FileReader, chat: bool | None) -> bool:
    """Whether messages are sent.

    Raises:
        ValueError: the file mixes prompts and messages, or has messages that are not to be sent as such.
    """
    if chat is False and found.chats:
        raise ValueError(f"chat=False: {found.name} has messages, which are sent as a chat: leave it out")
    if chat is None and 0 < found.chats < len(found.store):
        raise ValueError(f"{found.name} mixes prompts and messages: give one kind, or chat=True")
    return bool(found.chats) if chat is None else chat
