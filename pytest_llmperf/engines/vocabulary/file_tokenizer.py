"""Splits texts into tokens as the model in a GGUF file does, in a process of its own that holds no weights."""

from __future__ import annotations

import importlib.util
import os
import select
import tempfile
from pathlib import Path

from pytest_llmperf.engines.lifecycle.http import http_post, parse_tokens
from pytest_llmperf.engines.vocabulary.small_model import write_small_model
from pytest_llmperf.system.child_process import ChildProcess

_CHILD_MODULE = "pytest_llmperf.engines.vocabulary.main"
_START_SECONDS = 60.0
_END_SECONDS = 2.0
_LONGEST_ADDRESS = 4096


class FileTokenizer:
    """The tokenizer of the model in ``file``. It is started by the first text, and ends with :meth:`close`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._process: ChildProcess | None = None
        self._life = -1
        self._url = ""

    def list_tokens(self, text: str) -> list[int]:
        """The ids of the tokens of a text as a prompt, special ones included.

        Raises:
            OSError: xllamacpp is not installed, or the file has no vocabulary that it can read.
        """
        if self._process is None or self._process.ended:
            self.close()
            self._start()
        answer = http_post(f"{self._url}/tokenize", {"content": text, "add_special": True})
        return parse_tokens(answer)

    def close(self) -> None:
        """Ends its process. May be called twice."""
        if self._process is not None:
            self._process.stop()
            os.close(self._life)
            self._process = None

    def _start(self) -> None:
        if importlib.util.find_spec("xllamacpp") is None:
            raise OSError(
                f"{self._file.name} is at hand, and what reads its vocabulary is not installed: "
                "pip install 'pytest-llmperf[llamacpp]'"
            )
        with tempfile.TemporaryDirectory() as folder:
            small = Path(folder) / "vocabulary.gguf"
            try:
                write_small_model(self._file, small)
            except ValueError as error:
                raise OSError(str(error)) from None
            self._serve(small)

    def _serve(self, small: Path) -> None:
        """Starts the process and waits for its address; the file is not needed any more then."""
        said, address = os.pipe()
        life, self._life = os.pipe()
        try:
            self._process = ChildProcess(_CHILD_MODULE, [str(small), str(address), str(life)], [address, life])
        except BaseException:
            os.close(self._life)
            raise
        finally:
            os.close(address)
            os.close(life)
        try:
            readable, _, _ = select.select([said], [], [], _START_SECONDS)
            self._url = os.read(said, _LONGEST_ADDRESS).decode() if readable else ""
        finally:
            os.close(said)
        if not self._url:
            self._process.stop(_END_SECONDS)
            cause = self._process.why_ended()
            self.close()
            raise OSError(f"llama.cpp cannot read the vocabulary of {self._file.name}: {cause}")
