"""A family in a registry, a Hub on the loopback address, and a way to publish from one to other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from family import Family
from hub_server import WRITER, LoopbackHub

HERE = Path(__file__).parent
Publish = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    """The small family of ``family.py``, not measured yet."""
    made = Family(tmp_path / "family")
    yield made
    made.registry.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    """An empty Hub."""
    with LoopbackHub(tmp_path / "hub") as server:
        yield server


def client_environment(hub: LoopbackHub, folder: Path) -> dict[str, str]:
    """Variables for a process in which the real client knows no Hub but ``hub``."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    return kept | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(folder / "hf-home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(HERE.parent.parent),
        "PYTHONWARNINGS": "error::UserWarning",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def publish_calls(family: Family, hub: LoopbackHub, tmp_path: Path) -> Publish:
    """Make calls of ``publish`` in one other process; each answer is a dict."""

    def run(*calls: dict[str, Any], env: dict[str, str] | None = None) -> list[dict[str, Any]]:
        asked = {"home": str(family.home), "calls": [{"token": WRITER} | call for call in calls]}
        done = subprocess.run(
            [sys.executable, str(HERE / "publisher.py"), json.dumps(asked)],
            env=client_environment(hub, tmp_path) | (env or {}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        for token in ("hf_loopback",):
            assert token not in done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run
