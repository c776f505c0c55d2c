"""What the Hub refuses in a model card, as far as its documentation and its client tell."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.publish.hub_store import valid_repo


def card_errors(content: str) -> list[dict[str, str]]:
    """What the Hub would refuse in a model card's front matter, as far as it tells why.

    Languages are ISO 639 codes, ``base_model`` and ``datasets`` Hub ids, a licence ``other`` has
    a name, and every result of ``model-index`` names task, dataset and metric.
    """
    match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
    if not match:
        return [{"message": "no front matter"}]
    try:
        data = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        return [{"message": f"not YAML: {error}"}]
    wrong = []

    def listed(key: str) -> list[Any]:
        value = data.get(key, [])
        return value if isinstance(value, list) else [value]

    for code in listed("language"):
        if not re.fullmatch(r"[a-z]{2,3}|code|multilingual", str(code)):
            wrong.append(f'"language" must be an ISO 639 code, not {code!r}')
    for key in ("base_model", "datasets"):
        wrong += [f'"{key}": {v!r} is no Hub id' for v in listed(key) if not valid_repo(str(v))]
    if data.get("license") == "other" and not data.get("license_name"):
        wrong.append('"license_name" is missing')
    if data.get("base_model_relation", "adapter") not in (
        "adapter", "merge", "quantized", "finetune",
    ):  # fmt: skip
        wrong.append('"base_model_relation" is unknown')
    for model in listed("model-index"):
        for result in model["results"]:
            whole = result["task"]["type"] and result["dataset"]["type"]
            whole = whole and result["dataset"]["name"] and result["metrics"][0]["type"]
            wrong += [] if whole else ['"model-index" lacks a key']
    return [{"message": text} for text in wrong]
