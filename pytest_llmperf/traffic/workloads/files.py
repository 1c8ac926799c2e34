"""Workloads from files of JSON lines: each line has a prompt, a chat, or the length of a prompt."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.workloads.lengths import parse_lengths
from pytest_llmperf.traffic.workloads.workload import Script, Turn, Workload

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from pytest_llmperf.traffic.client.posts import Messages
    from pytest_llmperf.traffic.workloads.texts import Texts
    from pytest_llmperf.traffic.workloads.workload import LengthsText

# The tokens of a block in the traces of Mooncake.
_BLOCK_TOKENS = 512


@dataclass(frozen=True)
class FileLine:
    """One line of a file.

    Attributes:
        prompt: a prompt or messages; None if the line has only a length.
        prompt_tokens: length of the prompt to make; None if the line has a prompt.
        output_tokens: the most tokens of the answer.
        at_s: moment in seconds from the first line; None without timestamps.
        blocks: identities of the blocks of 512 tokens of the prompt; equal blocks have equal text.
    """

    prompt: Messages | None
    prompt_tokens: int | None
    output_tokens: int
    at_s: float | None = None
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True)
class FileWorkload(Workload):
    """The lines of the file ``name``, in their order or at their times."""

    name: str
    lines: tuple[FileLine, ...]
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
        return self.lines[0].at_s is not None

    def generate_scripts(self, texts: Texts | None) -> Iterator[Script]:
        for number, line in enumerate(self.lines):
            content = line.prompt if line.prompt is not None else self._generate_text(texts, number, line)
            turn = Turn(content, line.output_tokens, line.prompt_tokens)
            yield Script((turn,), "trace" if line.blocks else "", line.at_s)

    def _generate_text(self, texts: Texts | None, number: int, line: FileLine) -> str:
        assert texts is not None
        assert line.prompt_tokens is not None
        left = max(1, line.prompt_tokens - (0 if self.chat else texts.specials))
        parts = []
        for block in line.blocks:
            size = min(left, _BLOCK_TOKENS)
            parts.append(texts.generate(Random(f"{self.seed} block {block}"), size) if size else "")
            left -= size
        return "".join([*parts, texts.generate(Random(f"{self.seed} line {number}"), left)])

    def __str__(self) -> str:
        return f"the {len(self.lines)} requests of {self.name}"


def workload_file(
    path: str | os.PathLike[str],
    *,
    output_tokens: LengthsText = 128,
    seed: int = 0,
    speed: float = 1.0,
    tokenizer: Callable[[str], Any] | None = None,
) -> Workload:
    """Reads a workload from a file of JSON lines, each with a ``prompt``, ``messages`` or an ``input_length``.

    A line may also have ``output_length`` or ``max_tokens`` (else ``output_tokens`` counts), ``hash_ids`` (the blocks
    that prompts share, as in the traces of Mooncake) and a ``timestamp`` in milliseconds. If all lines have a
    timestamp the file is a trace: its requests are sent at its times.

    Args:
        path: the file.
        output_tokens: lengths of the answers whose line gives none; see :func:`workload`.
        seed: of all that is drawn at random.
        speed: factor by which a trace is sent faster.
        tokenizer: for engines that cannot count tokens: a function from a text to its tokens or to their number.

    Raises:
        ValueError: a line cannot be parsed, with its number; or an argument cannot.
        OSError: the file cannot be read.
    """
    source = Path(path)
    drawn = parse_lengths(output_tokens, "output_tokens")
    if not 0 < speed < float("inf"):
        raise ValueError(f"speed={speed!r} must be above 0")
    lines = []
    for number, text in enumerate(source.read_text(encoding="utf-8").split("\n"), 1):
        if text.strip():
            try:
                lines.append(_parse_line(json.loads(text), drawn.draw(Random(f"{seed} output {number}")), speed))
            except (ValueError, TypeError, AttributeError) as error:
                raise ValueError(f"{source.name}:{number}: {error}") from None
    if not lines:
        raise ValueError(f"{source.name} contains no request")
    timed = [line for line in lines if line.at_s is not None]
    if timed and len(timed) < len(lines):
        raise ValueError(
            f"{source.name}: {len(timed)} of {len(lines)} lines have a timestamp; give one to all or to none"
        )
    chats = {isinstance(line.prompt, list) for line in lines}
    if len(chats) > 1:
        raise ValueError(f"{source.name} mixes prompts and messages: give one kind")
    first = min((line.at_s for line in timed if line.at_s is not None), default=0.0)
    ordered = [replace(line, at_s=None if line.at_s is None else line.at_s - first) for line in lines]
    ordered.sort(key=lambda line: line.at_s or 0.0)
    return FileWorkload(source.name, tuple(ordered), seed, chats == {True}, tokenizer)


_KINDS: dict[str, type] = {"prompt": str, "messages": list, "input_length": int}


def _parse_line(content: Mapping[str, Any], output_tokens: int, speed: float) -> FileLine:
    given = [key for key in _KINDS if content.get(key)]
    if len(given) != 1:
        raise ValueError("a line has one of prompt, messages and input_length")
    (key,) = given
    if not isinstance(content[key], _KINDS[key]):
        raise ValueError(f"{key} is {content[key]!r}, not a {_KINDS[key].__name__}")
    output = content.get("output_length", content.get("max_tokens", output_tokens))
    if not isinstance(output, int) or output < 1:
        raise ValueError(f"the length of the answer is {output!r}: it must be a whole number of at least 1 token")
    stamp = content.get("timestamp")
    at_s = None if stamp is None else float(stamp) / 1e3 / speed
    blocks = tuple(int(block) for block in content.get("hash_ids", ()))
    if key == "input_length":
        return FileLine(None, content[key], output, at_s, blocks)
    return FileLine(content[key], None, output, at_s)
