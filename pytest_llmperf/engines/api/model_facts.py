"""Which model an engine runs, as exactly as that can be told."""

from __future__ import annotations

from typing import NamedTuple


class ModelFacts(NamedTuple):
    """What tells a model from others of its name; each is empty if it is unknown.

    Attributes:
        digest: hexadecimal; equal for equal models under one engine.
        quantisation: of the weights, as the model's files or the engine name it, such as ``Q4_1``.
    """

    digest: str = ""
    quantisation: str = ""
