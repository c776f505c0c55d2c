"""``made_by``: how an artifact came to be, as far as the machine can tell.

Every verb that makes something calls :func:`made_by` once and writes the result beside its
output as ``isogloss.json``, with the recipe as ``recipe.yaml``; the registry takes both into the
version's record.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from isogloss.files import canonical_json, write_atomic

Determinism = Literal["A", "B"]
"""``A``: same bytes anywhere; ``B``: same bytes on one machine and versions."""

_PACKAGES = (
    "accelerate",
    "datasets",
    "huggingface-hub",
    "mergekit",
    "numba",
    "numpy",
    "peft",
    "safetensors",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
)


def now() -> str:
    """The present in UTC, ISO 8601, microseconds: ``2026-11-20T19:14:53.000001+00:00``."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def made_by(
    verb: str,
    recipe: Mapping[str, Any],
    *,
    seed: int | None,
    started: str,
    method_version: int = 1,
    determinism: Determinism = "B",
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The facts of one run: what, by which code, on what, when.

    Args:
        verb: ``train cpt``, ``merge run`` …
        recipe: the normalised recipe, JSON values only, no paths of this machine.
        seed: the seed that every random choice came from; None where there was none.
        started: :func:`now` when the run began; the end is the moment of this call.
        method_version: raised when the same recipe would give other bytes than before.
        determinism: the class the output can be compared by (``docs/architecture.md``).
        extra: figures worth keeping, such as tokens seen or final loss.
    """
    return {
        "verb": verb,
        "recipe": dict(recipe),
        "seed": seed,
        "method_version": method_version,
        "determinism": determinism,
        "started": started,
        "ended": now(),
        "code": dict(code_version()),
        "packages": dict(package_versions()),
        "hardware": dict(hardware()),
        "extra": dict(extra or {}),
    }


def write_sidecars(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``isogloss.json`` (all facts) and ``recipe.yaml`` (the recipe) into ``folder``."""
    import yaml

    write_atomic(folder / "isogloss.json", canonical_json(dict(facts)) + b"\n")
    text = yaml.safe_dump(dict(facts["recipe"]), sort_keys=False, allow_unicode=True)
    write_atomic(folder / "recipe.yaml", text.encode())


@functools.cache
def code_version() -> tuple[tuple[str, Any], ...]:
    """(version, commit, dirty) of isogloss; commit and dirty are None outside a checkout."""
    from isogloss import __version__

    root = Path(__file__).resolve().parent.parent
    commit, dirty = None, None
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        status = _git(root, "status", "--porcelain", "--untracked-files=no")
        dirty = bool(status) if status is not None else None
    return (("version", __version__), ("commit", commit or None), ("dirty", dirty))


def _git(root: Path, *words: str) -> str | None:
    command = ["git", "-C", str(root), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@functools.cache
def package_versions() -> tuple[tuple[str, str], ...]:
    """(name, version) of Python and of each package that decides results, if installed."""
    found = [("python", platform.python_version())]
    for name in _PACKAGES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)


def hardware() -> tuple[tuple[str, Any], ...]:
    """(machine, system, cpus, gpu) without importing torch; gpu is named if torch is loaded."""
    torch = sys.modules.get("torch")
    gpu = None
    if torch is not None and torch.cuda.is_available():
        gpu = torch.cuda.get_device_name()
    return (
        ("machine", platform.machine()),
        ("system", platform.system()),
        ("cpus", os.cpu_count()),
        ("gpu", gpu),
    )
