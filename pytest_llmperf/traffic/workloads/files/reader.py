"""Reads a workload file: every entry is checked when it is read, and all of them together at the end."""

from __future__ import annotations

from array import array
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.workloads.files.entries import read_entries
from pytest_llmperf.traffic.workloads.files.request import parse_entry
from pytest_llmperf.traffic.workloads.files.store import RequestStore
from pytest_llmperf.traffic.workloads.files.values import MOST_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_llmperf.traffic.workloads.files.trace_units import BlockTokens, TimeUnit

# The keys of entries that are added without a detour: those of traces, and prompts with a length.
_LENGTHS = frozenset({"timestamp", "input_length", "output_length", "hash_ids"})
_BAILIAN = _LENGTHS | {"chat_id", "parent_chat_id", "turn", "type"}
_PROMPT = frozenset({"prompt", "output_tokens"})
_MOST_STAMP = 2.0**53


class FileReader:
    """Reads the requests of a file into a store.

    Attributes:
        name: that of the file.
        store: the requests.
        turns: their number, counting every turn of a chat.
        chats: how many of them are messages.
        left_out: number of conversations without a message of the user, which are not sent.
        unused: keys of the file that change nothing that is sent.
    """

    def __init__(
        self, name: str, time_unit: TimeUnit, block_tokens: BlockTokens, count_tokens: Callable[[str], int] | None
    ) -> None:
        self.store = RequestStore()
        self.turns = 0
        self.chats = 0
        self.left_out = 0
        self.unused: dict[str, None] = {}
        self.name = name
        self._time_unit = time_unit
        self._block_tokens = block_tokens
        self._count_tokens = count_tokens
        self._stamps = array("d")
        self._lines = array("q")

    def read(self, path: Path) -> None:
        """Reads the file.

        Raises:
            ValueError: it has no request, a line cannot be parsed, or its lines are of several kinds.
            OSError: the file cannot be read.
        """
        for line, content, unit in read_entries(path):
            try:
                if not self._add_plain(line, content, unit):
                    self._add(line, content, unit)
            except RecursionError:
                raise ValueError(f"{self.name}:{line}: the JSON is nested too deep") from None
            except UnicodeEncodeError as error:
                raise ValueError(f"{self.name}:{line}: a text has half of a character ({error.reason})") from None
            except ValueError as error:
                raise ValueError(f"{self.name}:{line}: {error}") from None
        if not len(self.store):
            raise ValueError(f"{self.name} contains no request")
        if 0 < len(self._stamps) < len(self.store):
            raise ValueError(
                f"{self.name}: {len(self._stamps)} of {len(self.store)} entries have a timestamp; "
                "give one to all or to none"
            )

    def _add_plain(self, line: int, content: dict[str, Any], unit: str | None) -> bool:
        """Adds an entry of the kinds that files have by the million; False, and nothing added, if anything is unusual.

        Raises:
            ValueError: its blocks do not fit its length, or its timestamp has another unit than those before.
        """
        keys = content.keys()
        if keys == _PROMPT:
            prompt, output = content["prompt"], content["output_tokens"]
            if type(prompt) is not str or not prompt or type(output) is not int or not 1 <= output <= MOST_TOKENS:
                return False
            self.store.add_text(prompt, output)
            self.turns += 1
            return True
        tokens, output, stamp = content.get("input_length"), content.get("output_length"), content.get("timestamp")
        if not (
            type(tokens) is int
            and type(output) is int
            and 1 <= tokens <= MOST_TOKENS
            and 1 <= output <= MOST_TOKENS
            and (type(stamp) is int or type(stamp) is float)
            and 0 <= stamp <= _MOST_STAMP
        ):
            return False
        blocks = content.get("hash_ids")
        if blocks is not None and (type(blocks) is not list or not set(map(type, blocks)) <= {int}):
            return False
        if not keys <= _LENGTHS:
            if not keys <= _BAILIAN or "chat_id" not in keys:
                return False
            self.unused.update(dict.fromkeys(("chat_id", "parent_chat_id", "turn", "type")))
            unit = "s"
        if blocks is not None:
            self._block_tokens.add(tokens, len(blocks))
        self._add_stamp(line, stamp, unit)
        self.store.add_lengths(tokens, output, blocks or ())
        self.turns += 1
        return True

    def _add(self, line: int, content: dict[str, Any], unit: str | None) -> None:
        entry = parse_entry(content, self._count_tokens)
        for request in entry.requests:
            if request.prompt_tokens is not None and content.get("hash_ids") is not None:
                self._block_tokens.add(request.prompt_tokens, len(request.blocks))
            self.store.add(request)
            self.turns += 1 + len(request.further)
            self.chats += request.chat
            if entry.stamp is not None:
                self._add_stamp(line, entry.stamp, unit or entry.time_unit)
        self.left_out += not entry.requests
        self.unused.update(dict.fromkeys(entry.unused))

    def _add_stamp(self, line: int, stamp: float, unit: str | None) -> None:
        self._time_unit.note(unit)
        self._stamps.append(stamp)
        self._lines.append(line)

    def find_block_tokens(self) -> int:
        """Returns the tokens of a block.

        Raises:
            ValueError: several sizes fit, or one was given for a file without blocks.
        """
        return self._block_tokens.find(self.name)

    def sort_by_time(self) -> tuple[array[int] | None, array[float] | None]:
        """Returns the numbers of the requests in the order of their timestamps, and their moments from the first one.

        The moments are in seconds. No order if it is that of the file; neither without timestamps.

        Raises:
            ValueError: the unit of the timestamps is not known.
        """
        stamps = self._stamps
        if not stamps:
            return None, None
        unit, first = self._time_unit.find(self.name, stamps, self._lines), min(stamps)
        if all(earlier <= later for earlier, later in pairwise(stamps)):
            return None, array("d", ((stamp - first) * unit for stamp in stamps))
        order = array("q", sorted(range(len(stamps)), key=stamps.__getitem__))
        return order, array("d", ((stamps[number] - first) * unit for number in order))
