"""References: how a person names an artifact, and what the name means.

=====================  ================================================================
``name``               the highest number of ``name`` in the registry (``name@latest``)
``name:3``             that version, for ever
``name@best``          what the alias ``best`` points to now
``name@sha256:ab12…``  by the first eight or more hex digits of its ``content`` or ``record``
``org/name@revision``  a repository on the Hub; ``hf://`` in front forces that reading
``model+lora``         a model with an adapter on it, each a reference of its own
=====================  ================================================================

This module only reads the text; ``isogloss.steps`` tries a string as an existing path, then
the registry, then the Hub.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from isogloss.errors import RefError

_PART = r"[a-z0-9][a-z0-9._-]{0,62}"
_NAME = re.compile(rf"{_PART}(/{_PART})?")
_HUB_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_HUB = re.compile(rf"{_HUB_PART}/{_HUB_PART}")
_RESERVED = re.compile(r"latest|v[0-9]+")
_WHERE = re.compile(r"(?P<name>[^:@]+)(?::(?P<number>[^@]+)|@(?P<at>.+))?")


class RegistryRef(NamedTuple):
    """A parsed registry reference; at most one of ``number``, ``alias``, ``digest`` is set."""

    name: str
    number: int | None = None
    alias: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        if self.number is not None:
            return f"{self.name}:{self.number}"
        if self.alias is not None:
            return f"{self.name}@{self.alias}"
        return f"{self.name}@sha256:{self.digest}" if self.digest else self.name


class HubRef(NamedTuple):
    """A repository on the Hub; ``revision`` is a branch, tag or commit, None for the default."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hf://{self.repo}" + (f"@{self.revision}" if self.revision else "")


def check_name(name: str) -> str:
    """``name`` itself, if an artifact may be called so (and a Hub repository too).

    >>> check_name("pcm-cpt")
    'pcm-cpt'

    Raises:
        RefError: it may not.
    """
    ok = bool(_NAME.fullmatch(name)) and "--" not in name and ".." not in name
    ok = ok and not any(p.endswith((".", "-", ".git")) for p in name.split("/"))
    if not ok:
        raise RefError(
            f"{name!r} can't be a name",
            expected="lower-case letters, digits, '.', '_' and '-', at most 63, "
            "with an optional namespace, as in 'pcm-cpt' or 'lab/pcm-cpt'",
        )
    return name


def check_alias(alias: str) -> str:
    """``alias`` itself, if it may point to a version; ``latest`` and ``v3`` are reserved."""
    if not re.fullmatch(_PART, alias) or _RESERVED.fullmatch(alias):
        raise RefError(
            f"{alias!r} can't be an alias",
            expected="lower-case letters, digits, '.', '_' and '-'; 'latest' and 'v1' are taken",
        )
    return alias


def parse_registry_ref(text: str) -> RegistryRef:
    """Read ``name``, ``name:3``, ``name@alias`` or ``name@sha256:…``.

    >>> parse_registry_ref("pcm-cpt:3")
    RegistryRef(name='pcm-cpt', number=3, alias=None, digest=None)

    Raises:
        RefError: the text has none of these forms.
    """
    found = _WHERE.fullmatch(text)
    if not found:
        raise RefError(f"{text!r} is no reference", expected="name, name:3, name@alias")
    name, number, at = check_name(found["name"]), found["number"], found["at"]
    if number is not None:
        if not number.isascii() or not number.isdigit() or int(number) < 1:
            raise RefError(f"{text!r} has no version number", expected="name:1, name:2, …")
        return RegistryRef(name, number=int(number))
    if at is None or at == "latest":
        return RegistryRef(name)
    if at.startswith("sha256:"):
        digest = at.removeprefix("sha256:").lower()
        if not re.fullmatch(r"[0-9a-f]{8,64}", digest):
            raise RefError(f"{text!r} has no usable digest", expected="8 to 64 hex digits")
        return RegistryRef(name, digest=digest)
    return RegistryRef(name, alias=check_alias(at))


def parse_hub_ref(text: str) -> HubRef | None:
    """Read ``org/name[@revision]`` or ``hf://org/name[@revision]``; None if it is neither.

    >>> parse_hub_ref("hf://meta-llama/Llama-3.2-1B@main").repo
    'meta-llama/Llama-3.2-1B'
    """
    repo, _, revision = text.removeprefix("hf://").partition("@")
    return HubRef(repo, revision or None) if _HUB.fullmatch(repo) else None


def split_lora(text: str) -> tuple[str, str | None]:
    """``model+lora`` as its two references; the second is None where there is no ``+``.

    >>> split_lora("base:1+pcm-cpt")
    ('base:1', 'pcm-cpt')
    """
    model, plus, lora = text.partition("+")
    if plus and not (model and lora):
        raise RefError(f"{text!r} is half a reference", expected="model+lora")
    return model, lora or None
