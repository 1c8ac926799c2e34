"""The form in which an engine is asked over HTTP, and in which it answers."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers import openai

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_llmperf.traffic.answers.answer import Answer, Arrival

    ReadAnswer = Callable[[Arrival], Answer]


def _keep(path: str, body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    return path, body


@dataclass(frozen=True)
class HttpApi:
    """How requests of the OpenAI API are put to an engine, and its answers read. The default is the OpenAI API itself.

    Attributes:
        url: below which its paths lie, with the query of each request.
        translate: called with path and body of a request of the OpenAI API, returns those of this one; raises
            ValueError for a setting that it cannot express.
        read: reads an answer; what it raises fails the request. A function of a module, since another process, which
            sends loads, imports it.
        length: where in a body the most tokens of an answer stand, as names of fields from the outermost on; empty for
            the names of the OpenAI API.
    """

    url: str
    translate: Callable[[str, Mapping[str, Any]], tuple[str, Mapping[str, Any]]] = _keep
    read: ReadAnswer = openai.read
    length: tuple[str, ...] = ()

    def find_length(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        """Where in this body the most tokens of the answer stand."""
        return self.length or ("max_completion_tokens" if "max_completion_tokens" in body else "max_tokens",)


@dataclass(frozen=True)
class FunctionName:
    """A function by which another process finds it: its module, its name there, and the folder of that module.

    The folder is the one that has the outermost package, or the module itself; "" if it lies in no file.
    """

    module: str
    name: str
    folder: str

    @staticmethod
    def of(function: Callable[..., Any]) -> FunctionName:
        """The name of a function.

        Raises:
            ValueError: another process cannot import it: it is a lambda, or was made inside another function.
        """
        module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
        home = sys.modules.get(module)
        if module == "__main__" or home is None or getattr(home, name, None) is not function:
            raise ValueError(
                f"the process that sends loads cannot import {function!r}: make it a function of a module, "
                "under its own name"
            )
        file = Path(home.__file__ or "")
        levels = module.count(".") + (file.stem == "__init__")
        return FunctionName(module, name, str(file.absolute().parents[levels]) if home.__file__ else "")

    def find(self) -> Any:
        """Imports the function.

        Raises:
            ImportError: there is no such module.
            AttributeError: it has no such function.
        """
        with self._ahead():
            return getattr(import_module(self.module), self.name)

    @contextmanager
    def _ahead(self) -> Iterator[None]:
        """Looks into its folder first: several folders may have a ``conftest.py``."""
        path = list(sys.path)
        sys.path[:0] = [self.folder] if self.folder else []
        try:
            yield
        finally:
            sys.path[:] = path
