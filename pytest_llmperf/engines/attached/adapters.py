"""The LoRA adapters that a server lists: as models with a parent, or by their numbers."""

from __future__ import annotations

import json
from pathlib import PurePath

from pytest_llmperf.engines.lifecycle.http import UNREADABLE_JSON, http_get


def list_model_adapters(base_url: str, api_key: str = "", query: str = "") -> dict[str, str]:
    """The adapters among the models of an OpenAI API, as vLLM lists them: by the name that requests give.

    Empty if it lists none, or does not answer.
    """
    url = f"{base_url}/models"
    try:
        listed = json.loads(http_get(f"{url}?{query}" if query else url, api_key=api_key))["data"]
        return {str(model["id"]): str(model["id"]) for model in listed if model.get("parent")}
    except (OSError, *UNREADABLE_JSON):
        return {}


def list_numbered_adapters(root: str, api_key: str = "") -> dict[str, str]:
    """The names of the adapters of a llama.cpp server by their numbers, ``#0``: those of their files.

    Two files of one name are told apart by their numbers. Empty if it has none, or does not answer.
    """
    try:
        listed = json.loads(http_get(f"{root}/lora-adapters", api_key=api_key))
        names = {f"#{int(one['id'])}": PurePath(str(one["path"])).stem for one in listed}
    except (OSError, *UNREADABLE_JSON):
        return {}
    alike = [name for name in names.values() if list(names.values()).count(name) > 1]
    return {number: f"{name}{number}" if name in alike else name for number, name in names.items()}
