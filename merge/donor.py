"""Where the files beside the weights come from: one named folder, never whichever comes first.

The configuration is the base's (without a base_model: the first input's), with the output's
dtype; the tokenizer is too, unless the recipe names another source. Python and pickles are never
copied.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from isogloss.errors import BaseMismatch
from isogloss.files import sha256_file
from isogloss.merge.checkpoint import read_json

TOKENIZER_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)


class Donor(NamedTuple):
    """The folders that the output's other files come from."""

    config: Path
    tokenizer: Path | None
    notes: tuple[str, ...]


def find_donor(folders: Mapping[str, Path], named: str | None, folder: Path | None = None) -> Donor:
    """Choose the donor, and compare the vocabularies that the merge puts on top of each other.

    Args:
        folders: label -> model folder, the base first.
        named: what the recipe says: None, ``base``, ``union`` or a label.
        folder: the folder of that label.

    Raises:
        BaseMismatch: the recipe names a tokenizer source, and an input has another vocabulary:
            its embedding would have to be permuted.
    """
    label, base = next(iter(folders.items()))
    tokenizer = folder if folder is not None else base
    label = named if folder is not None and named is not None else label
    mine = vocabulary(tokenizer)
    notes = []
    for name, one in folders.items():
        theirs = vocabulary(one)
        if mine is None or theirs is None or mine == theirs:
            continue
        if named is not None:
            raise BaseMismatch(
                f"{name} has another vocabulary than {label}",
                expected="one vocabulary",
                hint="permuting embeddings isn't supported; without tokenizer_source tokens are "
                "merged by their number",
            )
        notes.append(f"{name} has another vocabulary than {label}: tokens are merged by number")
    return Donor(base, tokenizer if has_tokenizer(tokenizer) else None, tuple(notes))


def has_tokenizer(folder: Path) -> bool:
    """Whether the folder holds a tokenizer."""
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def vocabulary(folder: Path) -> Any:
    """Something equal for two folders whose tokens have the same numbers; None if unknown."""
    if (folder / "tokenizer.json").is_file():
        data = read_json(folder / "tokenizer.json")
        added = data.get("added_tokens") or []
        model = data.get("model")
        words = model.get("vocab") if isinstance(model, dict) else None
        return words, sorted((token.get("id"), token.get("content")) for token in added)
    for name in ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.txt"):
        if (folder / name).is_file():
            return sha256_file(folder / name)
    return None


def copy_files(
    donor: Donor, target: Path, *, dtype: str | None, chat_template: str | None
) -> list[str]:
    """Write configuration and tokenizer into ``target``; the names written, in order.

    Args:
        dtype: what ``config.json`` shall call the output's dtype; None: as it stands.
        chat_template: a Jinja template in place of the donor's; None: the donor's.
    """
    written = []
    if (donor.config / "config.json").is_file():
        config = read_json(donor.config / "config.json")
        # The code it points to isn't copied, so the pointer would be a broken one.
        pointed = config.pop("auto_map", None)
        known = [key for key in ("dtype", "torch_dtype") if key in config]
        if dtype is not None:
            config |= dict.fromkeys(known or ["dtype"], dtype)
        if dtype is None and pointed is None:
            _copy(donor.config / "config.json", target)
        else:
            _write_json(target / "config.json", config)
        written.append("config.json")
    if (donor.config / "generation_config.json").is_file():
        _copy(donor.config / "generation_config.json", target)
        written.append("generation_config.json")
    for name in TOKENIZER_FILES if donor.tokenizer else ():
        path = donor.tokenizer / name if donor.tokenizer else Path(name)
        if path.is_file() and not (chat_template is not None and name == "chat_template.jinja"):
            _copy(path, target)
            written.append(name)
    if chat_template is not None:
        (target / "chat_template.jinja").write_text(chat_template, encoding="utf-8")
        written.append("chat_template.jinja")
        inside = target / "tokenizer_config.json"
        if inside.is_file() and "chat_template" in (data := read_json(inside)):
            del data["chat_template"]  # Two templates would leave it to the loader which holds.
            _write_json(inside, data)
    return written


def _copy(path: Path, target: Path) -> None:
    shutil.copyfile(path, target / path.name)


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
