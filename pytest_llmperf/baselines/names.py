"""The names of stored runs, and of the folders and files that hold them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from pytest_llmperf.baselines.errors import StoreError

LONGEST_PART = 100
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_FILE = re.compile(r"(\d{8}T\d{12}Z)-([0-9a-f]{12}|nogit)-[0-9a-f]{8}\.json")
_DIGITS = 8
_TIME = "%Y%m%dT%H%M%S%fZ"
_COMMIT = re.compile(r"[0-9a-f]{12,}")
NO_COMMIT = "nogit"


def check_name(name: str) -> str:
    """The name under which runs are stored, as it is.

    It has letters, digits, ``-``, ``_`` and ``.``, and ``/`` between its parts, as branches have.

    Raises:
        StoreError: it has other characters, a part that does not begin with a letter or a digit, one of more than 100
            characters, or one that could be taken for a fingerprint.
    """
    parts = name.split("/")
    if any(is_fingerprint(part) for part in parts):
        raise StoreError(f"{name!r} cannot name stored runs: 16 hexadecimal digits are a fingerprint")
    if not all(is_part(part) for part in parts):
        raise StoreError(
            f"{name!r} cannot name stored runs: use letters, digits, '-', '_', '.', and '/' between parts of at most "
            f"{LONGEST_PART} characters that begin with a letter or a digit"
        )
    return name


def is_part(text: str) -> bool:
    """Whether it may stand in a name, alone or between ``/``."""
    return _PART.fullmatch(text) is not None and len(text) <= LONGEST_PART and not is_fingerprint(text)


def is_fingerprint(text: str) -> bool:
    """Whether it has the form of a fingerprint: 16 hexadecimal digits."""
    return _FINGERPRINT.fullmatch(text) is not None


def is_file_name(text: str) -> bool:
    """Whether a file of this name may hold a run; nothing is known of its content."""
    return _FILE.fullmatch(text) is not None


def make_file_name(created: datetime, commit: str, digest: str) -> str:
    """``20260728T070512000000Z-0123456789ab-89abcdef.json``: names sort as the runs' times do.

    Args:
        created: when the run was reported.
        commit: its git commit, 40 hexadecimal digits; empty if it is not known.
        digest: of the file's content, in hexadecimal digits: equal files have equal names.
    """
    revision = commit[:12] if _COMMIT.fullmatch(commit) else NO_COMMIT
    return f"{created.astimezone(UTC).strftime(_TIME)}-{revision}-{digest[:_DIGITS]}.json"


def has_digest(file_name: str, digest: str) -> bool:
    """Whether the name of a run's file was made of this digest of its content."""
    return file_name.removesuffix(".json").endswith(f"-{digest[:_DIGITS]}")


def parse_time(file_name: str) -> datetime:
    """When the run was reported, from the name of its file.

    Raises:
        ValueError: a run's file has another name.
    """
    return datetime.strptime(file_name.partition("-")[0], _TIME).replace(tzinfo=UTC)
