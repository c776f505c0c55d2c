"""Ctrl-C and a full disk: one line, the right exit code, nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isogloss.registry import Registry

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")

TRAIN = ["train", "base", "--corpus", "text.txt", "--name", "base", "--shape", "llama:32x1"]
SMALL = ["--vocab", "300", "--set", "sequence_length=32", "--set", "batch_tokens=64"]


def start(folder: Path, *words: str, before: str = "") -> subprocess.Popen[str]:
    (folder / "text.txt").write_text("\n".join(f"line number {i} of some text" for i in range(80)))
    Registry.init(folder / ".isogloss").close()
    code = f"import sys\n{before}\nfrom isogloss.cli import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env={**os.environ, "ISOGLOSS_HOME": str(folder / ".isogloss")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def leftovers(folder: Path) -> list[Path]:
    return [p for p in (folder / ".isogloss" / "tmp").rglob("*") if p.is_file()]


def test_an_interrupted_training_leaves_nothing_and_exits_130(tmp_path: Path) -> None:
    # A background job's children are started with SIGINT ignored; a person's are not.
    heed = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)"
    process = start(tmp_path, *TRAIN, *SMALL, "--set", "max_steps=100000", before=heed)
    try:
        # The scratch folder appears when training is about to start.
        scratch = tmp_path / ".isogloss" / "tmp"
        deadline = time.monotonic() + 120
        while not list(scratch.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=100)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert stderr.strip().splitlines()[-1].startswith("isogloss: interrupted")
    assert leftovers(tmp_path) == []
    with Registry.open(tmp_path / ".isogloss") as registry:
        assert [v.kind for v in registry.versions()] == ["corpus"]


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    # No file may grow past 60 kB: the corpus and index fit, the model doesn't.
    limit = (
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))"
    )
    process = start(tmp_path, *TRAIN, *SMALL, "--set", "max_steps=2", before=limit)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1, stderr
    assert "Traceback" not in stderr
    (line,) = [text for text in stderr.splitlines() if text.startswith("isogloss: ")]
    assert "full" in line or "large" in line
    assert leftovers(tmp_path) == []
