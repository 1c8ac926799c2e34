"""The command that runs one test again."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_GROUP = re.compile(r"(.*[\]\w])@[^\]:]+", re.DOTALL)


def format_command(nodeid: str, run: Mapping[str, Any]) -> str:
    """``pytest --llm-engine=vllm 'test_chat.py::test_answer[short]'``, quoted for a POSIX shell.

    Args:
        nodeid: pytest's, whose path counts from the root of the project.
        run: ``options`` are the words of the command line without its tests, ``added_options`` those of the
            environment's ``PYTEST_ADDOPTS``, ``root`` is the root of the project from the folder that pytest was
            started in, and ``groups`` says whether pytest-xdist added groups to node ids.
    """
    if run.get("groups") and (match := _GROUP.fullmatch(nodeid)):
        nodeid = match[1]
    root = str(run.get("root") or ".")
    test = nodeid if root == "." else f"{root}/{nodeid}"
    added = shlex.join(map(str, run.get("added_options", ())))
    environment = f"PYTEST_ADDOPTS={shlex.quote(added)} " if added else ""
    return environment + shlex.join(["pytest", *map(str, run.get("options", ())), test])
