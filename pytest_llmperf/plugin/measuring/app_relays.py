"""The relays of one pytest process: one in front of each engine whose address was given to an app."""

from __future__ import annotations

import os
import secrets
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.unread import UnreadCall
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.plugin.measuring.left_overs import CALL, LeftOver, Owner
from pytest_llmperf.plugin.measuring.relay_host import is_loopback
from pytest_llmperf.system.known_keys import note_key
from pytest_llmperf.traffic.relay.main import LOOPBACK
from pytest_llmperf.traffic.relay.paths import is_harmless
from pytest_llmperf.traffic.relay.process import Relay, RelayError
from pytest_llmperf.traffic.relay.timing import read_timing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.prompts import Prompt
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.traffic.relay.recorded_calls import RecordedCall

# How long after a test the end of an answer may take that the app has read as far as it wanted.
_PATIENCE_S = 0.1


@dataclass
class AppCalls:
    """What an app has sent through the relays in a window.

    Attributes:
        requests: its calls that are read and have ended, each with its engine.
        unread: its calls that are not read, each with its engine.
        prompts: of all calls that came since the last time, also of those outside of the window, each with its engine.
        running_since: when each call that has not ended was sent, in ns.
        left_over: calls that ran in the window and began before it.
        faults: what went wrong with a relay, a sentence each.
    """

    requests: list[tuple[Engine, RequestTiming]] = field(default_factory=list)
    unread: list[tuple[Engine, UnreadCall]] = field(default_factory=list)
    prompts: list[tuple[Engine, Prompt | None]] = field(default_factory=list)
    running_since: list[int] = field(default_factory=list)
    left_over: list[LeftOver] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class AppRelays:
    """Starts a relay when its address is first asked for. An error of a relay is a fault of the test that runs.

    ``host`` is where they listen; empty for loopback. Anywhere else each has a token in its address.

    ``outside`` is the number of calls that came while no test was measured.
    """

    def __init__(self, host: str = "") -> None:
        self._host = host or LOOPBACK
        self._token = "" if is_loopback(self._host) else secrets.token_urlsafe(24)
        note_key(self._token)
        self._pid = os.getpid()
        self._relays: dict[Engine, Relay] = {}
        self._lock = threading.RLock()
        self._open = False
        self._faults: list[str] = []
        self._tests: list[tuple[Owner, Window]] = []
        self._stand_ins: dict[Engine, Engine] = {}
        self.outside = 0

    def url(self, engine: Engine) -> str:
        """The address of the engine's OpenAI API with the relay in between; it stays the same while it can.

        Raises:
            RelayError: the relay cannot be started, or is to be by a process that was forked from this one.
        """
        if os.getpid() != self._pid:
            if engine not in self._relays:
                raise RelayError("a forked process cannot start the relay: ask for base_url before the fork")
            return self._relays[engine].url
        with self._lock:
            return self._ready(engine).url

    def follow(self, engine: Engine) -> None:
        """Points the relay at a restarted engine, which may listen elsewhere: apps keep the address they were given."""
        with self._lock:
            if engine in self._relays:
                try:
                    self._ready(engine)
                except RelayError as error:
                    self._faults.append(str(error))

    def stand_in(self, engine: Engine, other: Engine) -> None:
        """Has the address of an engine lead to another one, whose calls they are then; to itself again if it is that.

        What comes on a connection on which a call is under way still goes where it went.
        """
        with self._lock:
            self._stand_ins[engine] = other
            self.follow(engine)

    def open(self) -> None:
        """Begins a test: makes sure that every relay runs and points at its engine."""
        with self._lock:
            self._faults.clear()
            self._open = False  # a relay that died before this test is no fault of the test
            for engine in self._relays:
                try:
                    self._ready(engine).open()
                except RelayError as error:
                    self._faults.append(str(error))
            self._open = True

    def take(self, window: Window, owner: Owner, *, final: bool) -> AppCalls:
        """Takes the calls of the window that have ended since the last time; ``owner`` is the test that it is of.

        With ``final`` the test is over, and calls still in flight are taken as well.
        """
        found, patience_s = AppCalls(), _PATIENCE_S if final else 0.0
        with self._lock:
            for addressed, relay in self._relays.items():
                engine = self._stand_ins.get(addressed, addressed)
                try:
                    taken = relay.take(final=final, patience_s=patience_s)
                except RelayError as error:
                    self._faults.append(f"{error}: the app's calls are lost")
                    continue
                self.outside += taken.outside
                self._faults += taken.problems
                self._sort(engine, taken.calls, window, found)
                prompts = (*taken.prompts_outside, *(call.prompt for call in taken.calls))
                found.prompts += [(engine, prompt) for prompt in prompts]
                found.running_since += taken.running_since
                found.left_over += [LeftOver(self._owner_at(at_ns), CALL, at_ns, engine) for at_ns in taken.left_over]
            found.faults = list(dict.fromkeys(self._faults))
            self._open = self._open and not final
            if final and window.seconds:
                self._tests.append((owner, window))
        return found

    def _sort(self, engine: Engine, calls: Sequence[RecordedCall], window: Window, found: AppCalls) -> None:
        """Adds the calls that were sent in the window to what was ``found``, and counts the others."""
        for call in calls:
            if not window.start_ns <= call.sent_ns < window.end_ns:
                self.outside += 1
            elif not call.read:
                what = f"{call.method} {call.path}"
                found.unread.append((engine, UnreadCall(what, call.sent_ns, call.end_ns, is_harmless(call.path))))
            elif (timing := read_timing(call)) is not None:
                found.requests.append((engine, timing))

    def _owner_at(self, at_ns: int) -> Owner | None:
        """The test that was measured at a moment; None if none was."""
        return next((owner for owner, window in self._tests if window.start_ns <= at_ns < window.end_ns), None)

    def count_outside(self) -> int | None:
        """The number of calls that belonged to no test, up to now; None if no app was given an address."""
        self.take(Window(0, 0), Owner(""), final=True)
        return self.outside if self._relays else None

    def close(self) -> None:
        """Stops every relay."""
        with self._lock:
            for relay in self._relays.values():
                relay.stop()
            self._relays.clear()

    def _ready(self, engine: Engine) -> Relay:
        """A relay that runs and points at the engine; one that has died is started again on its port."""
        relay, server = self._relays.get(engine), self._stand_ins.get(engine, engine)
        death = relay.why_ended() if relay else ""
        if relay is None or death:
            fresh = self._relays[engine] = self._start(server, relay)
            if self._open:
                self._faults += [f"{death}: the app's calls are lost"] if death else []
                fresh.open()
            return fresh
        if relay.server_url != server.base_url:
            relay.serve(server.base_url)
        return relay

    def _start(self, engine: Engine, dead: Relay | None) -> Relay:
        """Starts a relay, on the port of the ``dead`` one if that is still free, because apps know that address."""
        start = partial(Relay, engine.base_url, obeyed=engine.dialect.obeyed, host=self._host, token=self._token)
        if dead is not None:
            dead.stop()
            try:
                return start(dead.port)
            except RelayError:
                pass  # the port is taken by now
        return start()
