"""What may come in: which files of a folder belong to an artifact, and which refuse it.

Weights in pickles run code when they are loaded, links and odd names lead elsewhere, and
``auto_map`` makes loaders run the folder's own Python: each refuses the folder. Other files
that no artifact needs (optimizer states, logs) are left out and named.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from isogloss.errors import InputError, UnsafeInput
from isogloss.files import SIDECARS
from isogloss.registry.records import Kind

TEXT_SUFFIXES = frozenset({".txt", ".jsonl", ".tsv", ".csv", ".parquet"})
ARTIFACT_SUFFIXES = frozenset(
    {".safetensors", ".json", ".yaml", ".yml", ".txt", ".md", ".jinja", ".model"}
)
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})

# What transformers.Trainer and accelerate write beside the weights; no loader of weights opens it.
_STATE = re.compile(
    r"(training_args|optimizer|scheduler|scaler|sampler|random_states|rng_state)[a-z0-9_-]*"
    r"\.(bin|pt|pth|pkl)"
)
_CHECKPOINT = re.compile(r"checkpoint-[0-9]+")
# The libraries whose classes a PEFT ``auto_mapping`` may name: installed code, not the folder's.
_LIBRARIES = frozenset({"transformers", "peft", "torch", "sentence_transformers", "diffusers"})


class Found(NamedTuple):
    """One file that comes in: its path in the artifact, and where it lies now."""

    name: str
    path: Path


class LeftOut(NamedTuple):
    """One file or folder that stays out, and why."""

    name: str
    why: str


class Survey(NamedTuple):
    """What of a source comes in, sorted by name, and what stays out."""

    files: tuple[Found, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def names(self) -> frozenset[str]:
        """The paths of the files that come in."""
        return frozenset(found.name for found in self.files)


def survey(source: Path | Sequence[Path], kind: Kind, *, trusted: Path | None = None) -> Survey:
    """Look through a folder, a file, or several files, without reading weights or text.

    Args:
        source: a model or adapter folder; for a corpus a file, several, or a folder of them.
        trusted: a folder that links may point into: the registry's blobs, so that its own views
            can be added.

    Raises:
        InputError: missing, two files of one name, or a file of a kind that can't come in.
        UnsafeInput: pickled weights, links or special files, unsafe names, or code.
    """
    if isinstance(source, Path) and source.is_dir():
        found = list(_walk(source, "", kind, trusted and trusted.resolve()))
    else:
        found = list(_named([source] if isinstance(source, Path) else source, kind))
    files = tuple(sorted(f for f in found if isinstance(f, Found)))
    left_out = tuple(sorted(f for f in found if isinstance(f, LeftOut)))
    if kind != "corpus":
        for file in files:
            if file.path.suffix == ".json" and "config" in file.path.name:
                refuse_code(file.path)
    if not files:
        raise InputError(
            f"{source} holds nothing that can come in",
            expected="files ending in " + ", ".join(sorted(_suffixes(kind))),
        )
    return Survey(files, left_out)


def safe_path(name: str) -> str:
    """``name`` itself, if it stays in its folder on any system.

    >>> safe_path("1_Pooling/config.json")
    '1_Pooling/config.json'

    Raises:
        UnsafeInput: it is absolute, has ``.``, ``..`` or empty parts, a backslash or a
            control character, or is not UTF-8.
    """
    parts = name.split("/")
    unsafe = any(part in ("", ".", "..") for part in parts) or "\\" in name
    unsafe = unsafe or any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in name)
    if unsafe or PurePosixPath(name).is_absolute() or re.match(r"[A-Za-z]:", name):
        raise UnsafeInput(f"{name!r} leaves its folder or can't be named", expected="a/plain/path")
    return name


def refuse_code(path: Path) -> None:
    """Raise UnsafeInput where a JSON file tells loaders to run the folder's own Python.

    Raises:
        InputError: it isn't JSON.
    """
    value = read_json(path)
    for key, inner in _pairs(value):
        if key == "auto_map" and inner:
            raise UnsafeInput(
                f"{path} has auto_map, which makes loaders run code from the folder",
                expected="an architecture that transformers knows",
            )
        if key == "auto_mapping" and isinstance(inner, dict):
            library = str(inner.get("parent_library", "transformers"))
            if library.split(".")[0] not in _LIBRARIES:
                raise UnsafeInput(
                    f"{path} takes its base's class from {library!r}",
                    expected="a class of transformers",
                )


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        InputError: it is not UTF-8 or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        reason = str(error).split(":", 1)[0]
        raise InputError(f"{path} can't be read ({reason})", expected="JSON in UTF-8") from error


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in inner:
        yield from _pairs(part)


def _suffixes(kind: Kind) -> frozenset[str]:
    return TEXT_SUFFIXES if kind == "corpus" else ARTIFACT_SUFFIXES


def _named(paths: Sequence[Path], kind: Kind) -> Iterator[Found]:
    """Files named one by one: nothing is left out, what can't come in is an error."""
    seen: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} is missing", expected="a folder or file")
        if path.is_dir():
            raise InputError(f"{path} is a folder", expected="one folder, or files only")
        if kind != "corpus":
            raise InputError(f"{path} is a file", expected=f"the folder of the {kind}")
        if not path.is_file():
            raise UnsafeInput(f"{path} is a special file", expected="a regular file")
        if path.suffix.lower() not in TEXT_SUFFIXES:
            raise InputError(
                f"{path} is no kind of text that is read here",
                expected="a file ending in " + ", ".join(sorted(TEXT_SUFFIXES)),
            )
        if path.name in seen:
            raise InputError(
                f"{seen[path.name]} and {path} have one name",
                expected="a different name for each file",
            )
        seen[path.name] = path
        yield Found(safe_path(path.name), path)


def _walk(folder: Path, prefix: str, kind: Kind, trusted: Path | None) -> Iterator[Found | LeftOut]:
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        name = safe_path(prefix + entry.name)
        mode = entry.stat(follow_symlinks=False).st_mode
        if entry.name.startswith("."):
            yield LeftOut(name, "hidden")
        elif stat.S_ISLNK(mode):
            target = (folder / entry.name).resolve()
            if trusted and trusted in target.parents and target.is_file():
                yield _judged(name, folder / entry.name, kind)
                continue
            raise UnsafeInput(
                f"{folder / entry.name} is a link",
                expected="regular files",
                hint=f"copy them first: cp -rL {folder} COPY",
            )
        elif stat.S_ISDIR(mode):
            if _CHECKPOINT.fullmatch(entry.name):
                yield LeftOut(name, "a checkpoint of the training")
            elif entry.name == "__pycache__":
                yield LeftOut(name, "compiled code")
            else:
                yield from _walk(folder / entry.name, name + "/", kind, trusted)
        elif not stat.S_ISREG(mode):
            raise UnsafeInput(f"{folder / entry.name} is a special file", expected="regular files")
        else:
            yield _judged(name, folder / entry.name, kind)


def _judged(name: str, path: Path, kind: Kind) -> Found | LeftOut:
    """Whether one regular file comes in; raises where it refuses the whole folder."""
    suffix = path.suffix.lower()
    if kind != "corpus":
        if _STATE.fullmatch(path.name):
            return LeftOut(name, "state of the training")
        if suffix in PICKLE_SUFFIXES:
            raise UnsafeInput(
                f"{path} may hold weights in a pickle, which runs code when it is loaded",
                expected="safetensors",
                hint="save it again with safe_serialization=True",
            )
        if suffix == ".py":
            raise UnsafeInput(f"{path} is code", expected="weights and their configuration only")
        if name in SIDECARS:
            return LeftOut(name, "kept in the record")
        if path.name.upper().startswith(("LICENSE", "LICENCE", "NOTICE")):
            return Found(name, path)
    if suffix in _suffixes(kind):
        return Found(name, path)
    return LeftOut(name, f"no file that a {kind} needs")
