"""The real client in a process of its own: its environment, and calls over a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.publish.hub_server import LoopbackHub

HERE = Path(__file__).parent
Publish = Callable[..., list[dict[str, Any]]]


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
        # What stands in front lets another version of the client be tried.
        "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(HERE.parent.parent)]),
        "PYTHONWARNINGS": "error::UserWarning",
        "OMP_NUM_THREADS": "1",
    }


class Publisher:
    """A process that runs ``publisher.py``."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "publisher.py")],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def call(self, home: Path, call: dict[str, Any]) -> dict[str, Any]:
        """What ``publish`` says; a token in it, or on stderr, fails the test."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"home": str(home), "call": call}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        assert "hf_loopback" not in line + self.log.read_text()
        said: dict[str, Any] = json.loads(line)
        return said

    def close(self) -> None:
        """Let the process end."""
        self.process.communicate(timeout=60)
