"""The registry: what exists, and how it came to be.

Records are the truth, blobs the content, and an SQLite index a fold over the records that can
always be made again. Nothing here imports torch, and this module imports nothing until a name is
touched.

>>> import tempfile
>>> from pathlib import Path
>>> from isogloss.registry import Draft, Registry, language
>>> with tempfile.TemporaryDirectory() as folder:
...     path = Path(folder, "pidgin.txt")
...     _ = path.write_text("How you dey?\\n")
...     with Registry.init(Path(folder, "home")) as registry:
...         draft = Draft(name="pidgin", kind="corpus", languages=(language("pcm"),))
...         registry.add(path, draft).ref
'pidgin:1'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isogloss.registry.headers import Header, read_header
    from isogloss.registry.inspect import detect
    from isogloss.registry.intake import Survey, survey
    from isogloss.registry.languages import language, matches
    from isogloss.registry.lineage import Lineage
    from isogloss.registry.records import (
        AdapterFacts,
        AliasMove,
        CorpusFacts,
        Draft,
        Evaluation,
        HubSource,
        Language,
        ModelFacts,
        Parent,
        Publication,
        Removal,
        Tag,
        Version,
        hub_content,
        step_digest,
    )
    from isogloss.registry.registry import Registry
    from isogloss.registry.store import Damage

_HOMES = {
    "AdapterFacts": "records",
    "AliasMove": "records",
    "CorpusFacts": "records",
    "Damage": "store",
    "Draft": "records",
    "Evaluation": "records",
    "Header": "headers",
    "HubSource": "records",
    "Language": "records",
    "Lineage": "lineage",
    "ModelFacts": "records",
    "Parent": "records",
    "Publication": "records",
    "Registry": "registry",
    "Removal": "records",
    "Survey": "intake",
    "Tag": "records",
    "Version": "records",
    "detect": "inspect",
    "hub_content": "records",
    "language": "languages",
    "matches": "languages",
    "read_header": "headers",
    "step_digest": "records",
    "survey": "intake",
}

__all__ = [
    "AdapterFacts",
    "AliasMove",
    "CorpusFacts",
    "Damage",
    "Draft",
    "Evaluation",
    "Header",
    "HubSource",
    "Language",
    "Lineage",
    "ModelFacts",
    "Parent",
    "Publication",
    "Registry",
    "Removal",
    "Survey",
    "Tag",
    "Version",
    "detect",
    "hub_content",
    "language",
    "matches",
    "read_header",
    "step_digest",
    "survey",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"isogloss.registry.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'isogloss.registry' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
