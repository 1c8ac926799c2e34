"""A model that somebody else had loaded before the tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# A model that is to stay for ever has a time that is centuries away.
_FAR = timedelta(days=36525)
_FOR_EVER = -1


@dataclass(frozen=True)
class FoundModel:
    """How a model was loaded, as far as it can be seen.

    Attributes:
        name: by which the server lists it.
        context: its context in tokens.
        options: further options of the load.
        until: when it will be unloaded if no request comes.
        pid: its process; None if that is not seen.
    """

    name: str
    context: int
    options: Mapping[str, Any]
    until: datetime
    pid: int | None

    @classmethod
    def of(
        cls, entry: Mapping[str, Any], options: Mapping[str, Any] | None = None, pid: int | None = None
    ) -> FoundModel | None:
        """Of an entry of ``/api/ps``; None for a model that is about to go, or does not say when."""
        try:
            until = datetime.fromisoformat(str(entry.get("expires_at")))
        except ValueError:
            return None
        found = cls(str(entry.get("name")), int(entry.get("context_length") or 0), options or {}, until, pid)
        return found if found.seconds else None

    @property
    def seconds(self) -> int:
        """How long it is to stay after a request: the time that it has left, or -1 for ever; 0 if it is about to go."""
        left = self.until - datetime.now(UTC)
        return _FOR_EVER if left > _FAR else max(0, int(left.total_seconds()))

    def to_task(self) -> dict[str, Any]:
        """What the process that cleans up has to know."""
        return {
            "restore": self.name,
            "context": self.context,
            "options": dict(self.options),
            "seconds": self.seconds,
            "until": self.until.isoformat(),
            "pid": self.pid,
        }
