"""The corpus that isogloss carries: two varieties of French, and a task whose labels are known.

Written for this project: sentences drawn from grammars of everyday French of France and popular
French of Québec, and hand-written ones. ``write_corpus`` puts them into a folder as the files that
any corpus would come in.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isogloss.experiment.demo.corpus import DemoFiles, Splits, write_corpus
    from isogloss.experiment.demo.story import run_demo

__all__ = ["DemoFiles", "Splits", "run_demo", "write_corpus"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        home = "story" if name == "run_demo" else "corpus"
        return getattr(importlib.import_module(f"isogloss.experiment.demo.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
