"""Workloads out of files: a prompt, a chat, or lengths and a moment on each line."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.workloads.lengths import lengths
from pytest_llmperf.traffic.workloads.workload import Script, Turn, Workload

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from pytest_llmperf.traffic.client.request import Messages
    from pytest_llmperf.traffic.workloads.texts import Texts
    from pytest_llmperf.traffic.workloads.workload import LengthsText

# What a block identity of a Mooncake trace stands for.
_BLOCK_TOKENS = 512


@dataclass(frozen=True)
class Line:
    """A line of a file. ``prompt`` is None where the line gives only the ``prompt_tokens`` of one.

    ``blocks`` are identities of the prompt's blocks of 512 tokens, equal where the text is.
    """

    prompt: Messages | None
    prompt_tokens: int | None
    output_tokens: int
    at_s: float | None = None
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True)
class FromFile(Workload):
    """The lines of a file, in its order or at its times."""

    name: str
    lines: tuple[Line, ...]
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

    def scripts(self, texts: Texts | None) -> Iterator[Script]:
        for number, line in enumerate(self.lines):
            content = line.prompt if line.prompt is not None else self._text(texts, number, line)
            turn = Turn(content, line.output_tokens, line.prompt_tokens)
            yield Script((turn,), "trace" if line.blocks else "", line.at_s)

    def _text(self, texts: Texts | None, number: int, line: Line) -> str:
        assert texts is not None
        assert line.prompt_tokens is not None
        left = max(1, line.prompt_tokens - (0 if self.chat else texts.specials))
        parts = []
        for block in line.blocks:
            size = min(left, _BLOCK_TOKENS)
            parts.append(texts.text(Random(f"{self.seed} block {block}"), size) if size else "")
            left -= size
        return "".join([*parts, texts.text(Random(f"{self.seed} line {number}"), left)])

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
    """The requests of a file of JSON lines, each with a ``prompt``, with ``messages``, or with an ``input_length``.

    ``output_length`` (or ``max_tokens``) of a line is how long its answer may be, else ``output_tokens`` says so. With
    a ``timestamp``, in milliseconds, on each line the file is a trace: its requests are sent at its times, ``speed``
    times as fast. The traces of Mooncake read as they are, ``hash_ids`` being the blocks that prompts share.

    Raises:
        ValueError: a line that cannot be understood, with its number.
        OSError: the file cannot be read.
    """
    source = Path(path)
    drawn = lengths(output_tokens, "output_tokens")
    if not 0 < speed < float("inf"):
        raise ValueError(f"speed={speed!r} must be above 0")
    lines = []
    for number, text in enumerate(source.read_text(encoding="utf-8").split("\n"), 1):
        if text.strip():
            try:
                lines.append(_line(json.loads(text), drawn.draw(Random(f"{seed} output {number}")), speed))
            except (ValueError, TypeError, AttributeError) as error:
                raise ValueError(f"{source.name}:{number}: {error}") from None
    if not lines:
        raise ValueError(f"{source.name} holds no request")
    timed = [line for line in lines if line.at_s is not None]
    if timed and len(timed) < len(lines):
        raise ValueError(f"{source.name}: {len(timed)} of {len(lines)} lines have a timestamp; give all one, or none")
    chats = {isinstance(line.prompt, list) for line in lines}
    if len(chats) > 1:
        raise ValueError(f"{source.name} mixes prompts and messages: give one kind")
    first = min((line.at_s for line in timed if line.at_s is not None), default=0.0)
    ordered = [replace(line, at_s=None if line.at_s is None else line.at_s - first) for line in lines]
    ordered.sort(key=lambda line: line.at_s or 0.0)
    return FromFile(source.name, tuple(ordered), seed, chats == {True}, tokenizer)


_KINDS: dict[str, type] = {"prompt": str, "messages": list, "input_length": int}


def _line(content: Mapping[str, Any], output_tokens: int, speed: float) -> Line:
    given = [key for key in _KINDS if content.get(key)]
    if len(given) != 1:
        raise ValueError("a line has one of prompt, messages and input_length")
    (key,) = given
    if not isinstance(content[key], _KINDS[key]):
        raise ValueError(f"{key} is {content[key]!r}, not a {_KINDS[key].__name__}")
    output = content.get("output_length", content.get("max_tokens", output_tokens))
    if not isinstance(output, int) or output < 1:
        raise ValueError(f"an answer of {output!r} tokens cannot be asked for: at least 1")
    stamp = content.get("timestamp")
    at_s = None if stamp is None else float(stamp) / 1e3 / speed
    blocks = tuple(int(block) for block in content.get("hash_ids", ()))
    if key == "input_length":
        return Line(None, content[key], output, at_s, blocks)
    return Line(content[key], None, output, at_s)
