"""Engines, sampler and the folder of a run are cleared away also when another plugin fails at the end of pytest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

import pytest_llmperf.plugin
from pytest_llmperf.plugin.session import SESSION
from pytest_llmperf.plugin.xdist import Controller

if TYPE_CHECKING:
    from collections.abc import Callable


def _plugin(session: Mock) -> object:
    return SimpleNamespace(pytest_unconfigure=pytest_llmperf.plugin.pytest_unconfigure)


def _controller(session: Mock) -> object:
    controller = Controller(session)
    controller._run = session
    return controller


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("part", [_plugin, _controller])
def test_what_runs_is_closed_when_another_plugin_fails(
    part: Callable[[Mock], object], error: type[BaseException]
) -> None:
    def fail() -> None:
        raise error

    session = Mock()
    manager = pytest.PytestPluginManager()
    manager.register(part(session))
    manager.register(SimpleNamespace(pytest_unconfigure=fail))
    with pytest.raises(error):
        manager.hook.pytest_unconfigure(config=SimpleNamespace(stash={SESSION: session}))
    session.close.assert_called_once_with()
