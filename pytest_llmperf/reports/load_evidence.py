"""A load in labelled sentences: what was asked, what came, and how the client kept up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import SECONDS, format_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WAYS = {"call": "single requests", "list": "lists of prompts", "app": "calls of the app"}


def collect_load_evidence(load: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Pairs of a label and a sentence about a load in its wire form."""
    yield "load", load["asked"]
    if len(load["stretches"]) > 1:
        seconds = sum(span["seconds"] for span in load["stretches"])
        grown = f"grew to {len(load['stretches'])} stretches"
        yield "load", f"{grown}, judged over their steady parts of {_seconds(seconds)} together"
    elif load["steady"] is not None:
        yield "load", f"judged over its steady part of {_seconds(load['steady']['seconds'])}"
    if load["stopped"]:
        yield "load", f"it ended early: {load['stopped']}"
    for kind in ("prompt", "output"):
        if (text := _tokens(kind, load)) is not None:
            yield "tokens", text
    if load["client"] is not None:
        yield "client", _client(load["client"])


def describe_client_lag(lags: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """For each way that requests were sent beside loads, a sentence on how late their stamps may be."""
    for way, lag in lags.items():
        yield f"{_WAYS[way]} stamped late by {_lag(lag)}"


def _tokens(kind: str, load: Mapping[str, Any]) -> str | None:
    """``prompt: asked 128 to 2048, mean 1088; came ...``; None if nothing was asked and nothing came."""
    asked, came = load[f"{kind}_tokens"]["asked"], load[f"{kind}_tokens"]["came"]
    if asked is None and came is None:
        return None
    parts = [f"asked {_spread(asked)}" if asked else "as given", f"came {_spread(came)}" if came else "came uncounted"]
    if kind == "output" and came:
        parts.append(f"{load['full_answers']} of {came['count']} answers as long as asked")
    return f"{kind}: {'; '.join(parts)}"


def _spread(spread: Mapping[str, Any]) -> str:
    if spread["min"] == spread["max"]:
        return f"{spread['min']:g}"
    return f"{spread['min']:g} to {spread['max']:g}, mean {spread['mean']:.0f}"


def _client(client: Mapping[str, Any]) -> str:
    parts = [f"{client['event_loop']}, {client['cpu_share']:.0%} of a core".replace("%", " %")]
    if client["schedule_lag_s"] is not None:
        parts.append(f"sent late by {_lag(client['schedule_lag_s'])}")
    return "; ".join([*parts, f"its event loop late by {_lag(client['loop_lag_s'])}"])


def _lag(lag: Mapping[str, float]) -> str:
    return f"{_seconds(lag['p50'])} (p50), {_seconds(lag['p99'])} (p99), {_seconds(lag['max'])} (max)"


def _seconds(value: float) -> str:
    return format_value(value, SECONDS)
