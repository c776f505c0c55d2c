"""Several processes at once, kills at any moment, full disks; and what an import pulls in."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from isogloss.registry import Draft, Registry

Maker = Callable[..., Path]

WRITER = """
import sys
from pathlib import Path
from isogloss.registry import Draft, Registry
home, work, who, count = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
with Registry.init(home) as registry:
    print("open", flush=True)
    for n in range(count):
        path = work / f"{who}.txt"
        path.write_text(f"{who} {n}\\n")
        version = registry.add(path, Draft(name="shared", kind="corpus"))
        print(version.ref, flush=True)
        registry.alias("shared", "last", version.number)
        registry.view(version)
"""


def _start(script: str, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
    )


def _sound(root: Path) -> Registry:
    """A registry opened, and found to be whole: every record readable, every blob there."""
    registry = Registry.open(root)
    assert registry.damaged == ()
    before = registry.index_digest()
    registry.reindex()
    assert registry.damaged == ()
    assert registry.index_digest() == before
    for version in registry.versions():
        for entry in version.files:
            assert len(registry.read_blob(entry.sha256)) == entry.size
    numbers = [version.number for version in registry.versions(name="shared")]
    assert numbers == list(range(1, len(numbers) + 1))
    return registry


def test_processes_at_once_from_the_first_moment(tmp_path: Path) -> None:
    home, count, writers = tmp_path / "home", 8, 3
    running = [_start(WRITER, home, tmp_path, f"w{n}", count) for n in range(writers)]
    given: list[str] = []
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        given += out.split()[1:]
    with _sound(home) as registry:
        assert sorted(given) == sorted(v.ref for v in registry.versions())
        assert len(set(given)) == writers * count
        assert len(registry.alias_log("shared")) == writers * count
        assert not list((home / "tmp").iterdir())


@pytest.mark.slow
def test_kills_at_random_moments(tmp_path: Path) -> None:
    home, moments, given = tmp_path / "home", random.Random(7), set()
    Registry.init(home).close()
    for run in range(20):
        process = _start(WRITER, home, tmp_path, f"k{run}", 10_000)
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        time.sleep(moments.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        out, _ = process.communicate()
        given |= {line for line in out.splitlines(keepends=True) if line.endswith("\n")}
        with _sound(home) as registry:
            # Whatever was reported as done is there; one more may have got its record.
            refs = {version.ref + "\n" for version in registry.versions()}
            assert given <= refs
            assert len(refs) <= len(given) + run + 1
    for path in (home / "tmp").iterdir():
        os.utime(path, (0, 0))
    with Registry.open(home):
        assert not [path for path in (home / "tmp").iterdir() if path.is_dir()]


FULL = """
import resource, sys
from pathlib import Path
from isogloss.errors import RegistryError
from isogloss.registry import Draft, Registry
home, source, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
with Registry.open(home) as registry:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        registry.add(source, Draft(name="big", kind="corpus", made_by={"x": "y" * 200_000}))
    except RegistryError as error:
        print(error)
        sys.exit(1)
"""


# 1,000 bytes stop the copy; 150,000 let it through and stop the record; 215,000 let the record
# through too, and stop the index.
@pytest.mark.parametrize(
    ("limit", "said"),
    [(1_000, "the disk is full"), (150_000, "the disk is full"), (215_000, "the index refused")],
)
def test_a_full_disk(tmp_path: Path, make_corpus: Maker, limit: int, said: str) -> None:
    home = tmp_path / "home"
    with Registry.init(home) as registry:
        registry.add(make_corpus("a.txt"), Draft(name="small", kind="corpus"))
        before = registry.index_digest()
    records = sorted((home / "records").rglob("*.json"))
    source = make_corpus("b.txt", "0123456789\n" * 10_000)
    process = _start(FULL, home, source, limit)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    assert out.startswith(said)
    assert not list((home / "tmp").iterdir())
    assert sorted((home / "records").rglob("*.json")) == records
    with _sound(home) as registry:
        assert registry.index_digest() == before
        assert registry.names() == ["small"]
        assert registry.add(source, Draft(name="big", kind="corpus")).ref == "big:1"


def test_an_interrupt_between_the_file_and_the_commit(
    registry: Registry, make_corpus: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isogloss.registry import journal

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(journal, "insert_records", interrupt)
        with pytest.raises(KeyboardInterrupt):
            registry.add(make_corpus(), Draft(name="shared", kind="corpus"))
    assert registry.names() == []
    registry.close()
    with _sound(registry.root) as again:
        assert again.names() == ["shared"]


def test_an_error_between_the_file_and_the_commit(
    registry: Registry, make_corpus: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isogloss.registry import journal

    def fail(*_: object) -> None:
        raise OSError(5, "input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "insert_records", fail)
        with pytest.raises(OSError, match="input/output"):
            registry.add(make_corpus(), Draft(name="shared", kind="corpus"))
    assert not list((registry.root / "records").rglob("*.json"))
    assert registry.add(make_corpus(), Draft(name="shared", kind="corpus")).ref == "shared:1"


def test_what_dead_processes_left_is_swept(registry: Registry) -> None:
    dead, young = registry.root / "tmp" / "1.dead", registry.root / "tmp" / "2.young"
    for folder in (dead, young):
        folder.mkdir()
        (folder / "half").write_bytes(b"x")
    os.utime(dead, (0, 0))
    Registry.open(registry.root).close()
    assert not dead.exists()
    assert young.exists()


LIGHT = """
import json, sys, time
import isogloss
start = time.perf_counter()
import isogloss.registry
light = time.perf_counter() - start
early = [m for m in ("sqlalchemy", "pydantic", "torch", "numpy") if m in sys.modules]
for name in isogloss.registry.__all__:
    getattr(isogloss.registry, name)
heavy = [m for m in ("torch", "transformers", "peft", "numpy", "numba") if m in sys.modules]
print(json.dumps([light, early, heavy]))
"""


def test_importing_the_registry_is_light() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True, cwd="/"
    )
    light, early, heavy = json.loads(done.stdout)
    assert (early, heavy) == ([], [])
    assert light < 0.25


def test_public_names() -> None:
    import isogloss.registry as package

    assert package.__all__ == sorted(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    assert set(package._HOMES) == set(package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Regsitry'"):
        _ = package.Regsitry


def test_the_example_of_the_package() -> None:
    import doctest

    import isogloss.registry as package
    from isogloss.registry import codec, intake, languages, records
    from isogloss.registry import registry as module

    for target in (package, codec, intake, languages, records, module):
        found = doctest.testmod(target)
        assert found.attempted > 0
        assert found.failed == 0
