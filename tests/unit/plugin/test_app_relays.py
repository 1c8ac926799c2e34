from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import pytest

from pytest_llmperf.plugin.measuring.app_relays import AppRelays
from pytest_llmperf.traffic.relay.process import RelayError

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine


# Python 3.12 and newer warn of the threads that tests before may have left.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_cannot_start_a_relay_whose_calls_would_be_lost() -> None:
    relays = AppRelays()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            relays.url(cast("Engine", object()))
        except RelayError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    assert os.read(read, 1000) == b"a forked process cannot start the relay: ask for base_url before the fork"
    os.close(read)
