"""Digests and writing: what is on disk is all of it or nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.errors import InputError, UsageError
from isogloss.files import (
    FileEntry,
    canonical_json,
    content_digest,
    fresh_folder,
    list_files,
    write_atomic,
)

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), _json))
def test_canonical_json_does_not_depend_on_the_order_of_keys(data: dict[str, object]) -> None:
    assert canonical_json(data) == canonical_json(dict(reversed(data.items())))


def test_canonical_json_refuses_what_json_has_no_word_for() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"loss": float("nan")})


def test_content_leaves_sidecars_and_order_out() -> None:
    files = [FileEntry("b", 2, "y"), FileEntry("a", 1, "x")]
    side = FileEntry("isogloss.json", 9, "z")
    assert content_digest(files) == content_digest([*reversed(files), side])
    assert content_digest(files) != content_digest([FileEntry("a", 1, "x")])


def test_a_failed_block_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with fresh_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_fills_up_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    def race() -> None:
        with fresh_folder(tmp_path / "out") as folder:
            (folder / "a").write_text("ours")
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "a").write_text("theirs")

    with pytest.raises(UsageError, match="not empty"):
        race()
    assert (tmp_path / "out" / "a").read_text() == "theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_may_be_the_target(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with fresh_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
    assert [f.path for f in list_files(tmp_path / "out")] == ["a"]


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="link"):
        list_files(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_atomic(target, b"old")
    script = (
        "import resource, signal, pathlib, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10));"
        "from isogloss.files import write_atomic;"
        "write_atomic(pathlib.Path(sys.argv[1]), b'x' * 100)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "File too large" in done.stderr
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
