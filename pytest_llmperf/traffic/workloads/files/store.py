"""The requests of a file in columns: some numbers each in memory, and texts in a file without a name."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import weakref
from array import array
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.workloads.files.parsed import FurtherTurn, ParsedRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

# Texts that stay in memory; as soon as there are more, all so far go to the file.
_IN_MEMORY = 8 * 2**20
_NO_LENGTH = 0
_LARGE = 2**63


class TextStore:
    """Texts behind each other, up to 8 MiB of them in memory and the others in a file that has no name.

    The file is in the folder for temporary files (``TMPDIR``), and gone with this object.
    """

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._written = 0
        self._file: int | None = None
        self._digest = hashlib.sha256()

    def add(self, text: bytes) -> int:
        """Adds a text; returns where it ends.

        Raises:
            OSError: there is no room for it.
        """
        self._waiting += text
        self._digest.update(text)
        if len(self._waiting) > _IN_MEMORY:
            self._write()
        return self._written + len(self._waiting)

    def read(self, start: int, stop: int) -> bytes:
        """Reads the text from one place to another.

        Raises:
            OSError: the file cannot be read.
        """
        if start == stop:
            return b""
        if start >= self._written:
            return bytes(self._waiting[start - self._written : stop - self._written])
        assert self._file is not None
        return os.pread(self._file, stop - start, start)

    @property
    def digest(self) -> bytes:
        """Tells the texts from others."""
        return self._digest.digest()

    def _write(self) -> None:
        if self._file is None:
            self._file, path = tempfile.mkstemp(prefix="llmperf-texts-")
            os.unlink(path)
            weakref.finalize(self, os.close, self._file)
        view = memoryview(self._waiting)
        while view:
            view = view[os.write(self._file, view) :]
        self._written += len(self._waiting)
        self._waiting = bytearray()


class RequestStore:
    """The requests of a file, by their numbers, in the order of the file.

    A request takes 24 bytes of memory, and 4 or 8 for each of its blocks; its text is not in memory.
    """

    def __init__(self) -> None:
        self._prompts = array("i")
        self._outputs = array("i")
        self._block_ends = array("q")
        self._blocks = array("i")
        self._texts = TextStore()
        self._text_ends = array("q")

    def __len__(self) -> int:
        return len(self._outputs)

    @property
    def needs_texts(self) -> bool:
        """Whether a request has only a length."""
        return any(self._prompts)

    def add_lengths(self, prompt_tokens: int, output_tokens: int | None, blocks: Sequence[int] = ()) -> None:
        """Adds a request that has no text of its own."""
        self._prompts.append(prompt_tokens)
        self._outputs.append(output_tokens or _NO_LENGTH)
        if blocks:
            self._add_blocks(blocks)
        self._block_ends.append(len(self._blocks))
        self._text_ends.append(self._text_ends[-1] if self._text_ends else 0)

    def _add_blocks(self, blocks: Sequence[int]) -> None:
        try:
            self._blocks.fromlist(list(blocks))
        except OverflowError:
            if self._blocks.typecode == "i":
                self._blocks = array("q", self._blocks)
                self._add_blocks(blocks)
            else:
                self._blocks.fromlist([block if abs(block) < _LARGE else _shorten(block) for block in blocks])

    def add_text(self, prompt: str, output_tokens: int | None) -> None:
        """Adds a request with a prompt and nothing else."""
        self._add_text(output_tokens, _dump(prompt))

    def add(self, request: ParsedRequest) -> None:
        """Adds a request.

        Raises:
            ValueError: a text or a number in it has no JSON.
            OSError: there is no room for its text.
        """
        if request.prompt_tokens is not None:
            self.add_lengths(request.prompt_tokens, request.output_tokens, request.blocks)
            if request.fields:
                self._text_ends[-1] = self._texts.add(_dump(request.fields))
            return
        whole = {"prompt": request.prompt, "fields": request.fields, "further": request.further}
        plain = request.prompt if not request.fields and not request.further else whole
        self._add_text(request.output_tokens, _dump(plain))

    def _add_text(self, output_tokens: int | None, text: bytes) -> None:
        self._text_ends.append(self._texts.add(text))
        self._prompts.append(_NO_LENGTH)
        self._outputs.append(output_tokens or _NO_LENGTH)
        self._block_ends.append(len(self._blocks))

    def read(self, number: int) -> ParsedRequest:
        """Reads a request.

        Raises:
            OSError: its text cannot be read.
        """
        output = self._outputs[number] or None
        text = self._texts.read(self._text_ends[number - 1] if number else 0, self._text_ends[number])
        content: Any = json.loads(text) if text else {}
        if self._prompts[number]:
            blocks = self._blocks[self._block_ends[number - 1] if number else 0 : self._block_ends[number]]
            return ParsedRequest(None, self._prompts[number], output, blocks, content)
        if not isinstance(content, dict):
            return ParsedRequest(content, None, output)
        further = [FurtherTurn(*turn) for turn in content["further"]]
        return ParsedRequest(content["prompt"], None, output, fields=content["fields"], further=further)

    def digest(self, *further: bytes | array[Any]) -> str:
        """Tells the requests, and what is known of them beside, from others."""
        found = hashlib.sha256(self._texts.digest)
        for part in (self._prompts, self._outputs, self._block_ends, self._blocks, self._text_ends, *further):
            found.update(part)
        return found.hexdigest()[:16]


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _shorten(block: int) -> int:
    """A number of 63 bits that stands for one of any size."""
    return int.from_bytes(hashlib.blake2b(b"%x" % block, digest_size=8).digest()) >> 1
