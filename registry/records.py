"""Records: the truth of the registry, as immutable typed objects.

A record is written once as canonical JSON and never changed; whatever is asked of the registry
is answered from records (through an index that is a fold over them). Six types exist: a
:class:`Version` of an artifact, an :class:`Evaluation` of one, a :class:`Publication` of one,
an :class:`AliasMove`, a :class:`Tag`, and a :class:`Removal`.

The ``record`` digest of a version leaves its ``name`` and ``number`` out: these are pointers,
what they point to is the rest.

A field that is None is not written (:func:`plain`). So a field can be added to a record type
without changing the digest of any older record, provided that it is optional and None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from isogloss.config import Strict
from isogloss.files import FileEntry, digest_of

FORMAT = 1

Kind = Literal["corpus", "adapter", "model"]
Role = Literal["dialect", "task", "merged", "base", "replay", "eval"]
EdgeRole = Literal["base", "start", "merge_input", "corpus", "replay", "data", "tokenizer"]
"""``base``: the model whose weights it stands on; ``start``: the adapter that training went on
from."""


def plain(value: Any) -> Any:
    """``value`` as JSON values; fields of records that are None are left out.

    What stands in a ``dict`` (``made_by``) is the caller's and stays whole.

    >>> plain(Language(tag="pcm"))
    {'tag': 'pcm'}
    """
    if isinstance(value, Strict):
        fields = ((name, getattr(value, name)) for name in type(value).model_fields)
        return {name: plain(inner) for name, inner in fields if inner is not None}
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def step_digest(
    verb: str,
    recipe: Mapping[str, Any],
    parents: Sequence[str],
    seed: int | None,
    method_version: int,
) -> str:
    """The ``step`` digest: what a step would do, known before it is done.

    Args:
        verb: ``train cpt``, ``merge run`` …
        recipe: normalised, JSON values only, no paths of this machine.
        parents: ``content`` digests, in the order that the recipe names them.
        seed: the seed of every random choice; None where there is none.
        method_version: raised when the same recipe would give other bytes than before.

    >>> step_digest("merge run", {"weight": 1}, ["ab"], None, 1)[:8]
    '2491d066'
    """
    return digest_of(
        {
            "verb": verb,
            "recipe": plain(dict(recipe)),
            "parents": list(parents),
            "seed": seed,
            "method_version": method_version,
        }
    )


class Language(Strict):
    """A language or dialect: BCP-47 ``tag``, optional Glottocode, and its prestige neighbour."""

    tag: str
    """BCP-47, normalised: ``fr-CA``, ``pcm``."""
    glottocode: str | None = None
    """``queb1247``: four letters or digits and four digits."""
    prestige: str | None = None
    """BCP-47 of the prestige variety that this dialect is measured against."""


class HubSource(Strict):
    """A repository on the Hub, pinned."""

    repo: str
    commit: str
    """40 hex digits."""


def hub_content(source: HubSource) -> str:
    """The ``content`` of a model that stays on the Hub: digest of its repository and commit.

    Its files aren't known here, and the commit pins them.
    """
    return digest_of(["hub", source.repo, source.commit])


class Parent(Strict):
    """An edge of the lineage: what this version was made from, and as what."""

    role: EdgeRole
    ref: str
    """What a person calls it: ``name:number`` at the time, or ``hf://org/name@commit``."""
    record: str | None = None
    """``record`` digest of a version in the registry; None for a parent that is only on the Hub."""
    content: str | None = None
    hub: HubSource | None = None
    weight: float | None = None
    """The weight in the merge, or the share of tokens in a mixture; None where there is none."""


class CorpusFacts(Strict):
    """What is known of a text corpus."""

    documents: int
    """Non-blank lines or rows."""
    bytes: int
    """UTF-8 bytes of the text field, separators not counted."""
    field: str = "text"
    source: str | None = None
    """Where it comes from: a citation, a URL, a name."""
    consent: str | None = None
    """Who agreed to what."""
    contact: str | None = None
    restrictions: str | None = None


class AdapterFacts(Strict):
    """What a PEFT adapter says of itself."""

    peft_type: str
    """``LORA``, ``IA3`` …"""
    rank: int | None = None
    alpha: float | None = None
    rslora: bool = False
    dora: bool = False
    targets: tuple[str, ...] = ()
    init: str | None = None
    """``init_lora_weights`` as text: ``true``, ``gaussian``, ``pissa`` …"""
    base_named: str | None = None
    """``base_model_name_or_path`` as found; the edge in ``parents`` is what counts."""


class ModelFacts(Strict):
    """What a transformers model folder says of itself."""

    architecture: str | None = None
    model_type: str | None = None
    parameters: int | None = None
    """Entries in all tensors of its safetensors files."""
    dtype: str | None = None
    """The dtype of most entries, in safetensors' spelling: ``F32``, ``BF16``."""
    vocab: int | None = None
    hidden: int | None = None
    layers: int | None = None
    shape_digest: str | None = None
    """sha256 over the sorted (tensor name, shape) pairs: models that merge element by element
    have the same one."""


class Draft(Strict):
    """A version about to be: everything a caller knows; the registry adds the rest."""

    name: str
    kind: Kind
    role: Role | None = None
    languages: tuple[Language, ...] = ()
    licence: str | None = None
    """An identifier of the Hub's list (``cc-by-sa-4.0``); None is unknown."""
    parents: tuple[Parent, ...] = ()
    made_by: dict[str, Any] = Field(default_factory=dict)
    """See ``isogloss.madeby``; empty for what was added by hand."""
    step: str | None = None
    """sha256 of (verb, normalised recipe, parents' content, seed, method version)."""
    corpus: CorpusFacts | None = None
    hub: HubSource | None = None
    """Where it was pulled from, or for a model by reference where its weights are."""
    note: str | None = None


class Recorded(Strict):
    """What every record has: a digest of all of it but its pointers."""

    pointers: ClassVar[frozenset[str]] = frozenset()

    @property
    def record(self) -> str:
        """The ``record`` digest: sha256 of the canonical JSON, pointers left out."""
        return digest_of({k: v for k, v in plain(self).items() if k not in self.pointers})


class Version(Draft, Recorded):
    """One immutable version of an artifact."""

    pointers: ClassVar[frozenset[str]] = frozenset({"name", "number"})

    type: Literal["version"] = "version"
    format: int = FORMAT
    number: int
    content: str
    """``isogloss.files.content_digest`` of ``files``; without files, :func:`hub_content`."""
    files: tuple[FileEntry, ...]
    adapter: AdapterFacts | None = None
    model: ModelFacts | None = None
    created_at: str
    """UTC, ISO 8601."""

    @property
    def ref(self) -> str:
        """``name:number``."""
        return f"{self.name}:{self.number}"


def agrees(draft: Draft, found: Version) -> bool:
    """Whether all that ``draft`` states of itself is what ``found`` says; silence agrees.

    Stated are role, languages, licence, note, and for a corpus field, source, consent, contact and
    restrictions: a corrected licence or a withdrawn consent is another version of the same files.
    """
    pairs = [
        (draft.role, found.role),
        (draft.languages, found.languages),
        (draft.licence, found.licence),
        (draft.note, found.note),
    ]
    if draft.corpus is not None and found.corpus is not None:
        told, known = draft.corpus, found.corpus
        pairs += [
            (told.field, known.field),
            (told.source, known.source),
            (told.consent, known.consent),
            (told.contact, known.contact),
            (told.restrictions, known.restrictions),
        ]
    return all(said in (None, (), was) for said, was in pairs)


class Evaluation(Recorded):
    """One version measured on one task and split."""

    type: Literal["evaluation"] = "evaluation"
    format: int = FORMAT
    version: str
    """``record`` digest of what was measured."""
    ref: str
    """``name:number`` at the time."""
    suite: str
    task: str
    task_digest: str
    side: Literal["dialect", "prestige", "task"]
    split: str
    protocol: str
    kind: str
    metric: str
    """The metric that ``error`` is made of: ``bits_per_byte``, ``accuracy``, ``macro_f1`` …"""
    error: float
    """Bits per byte, or 1 − score: lower is better."""
    n: int
    """Items."""
    metrics: dict[str, float]
    flags: tuple[str, ...] = ()
    """``collapse``, ``failures``, ``contamination`` …"""
    items: str
    """sha256 of the blob with the scores of each item, JSON lines in the order of the data."""
    step: str
    made_by: dict[str, Any] = Field(default_factory=dict)
    created_at: str


class Publication(Recorded):
    """One version put on a Hub."""

    type: Literal["publication"] = "publication"
    format: int = FORMAT
    version: str
    ref: str
    endpoint: str
    repo: str
    commit: str
    tag: str | None = None
    pull_request: str | None = None
    overrides: dict[str, str] = Field(default_factory=dict)
    """Gate -> the reason given for passing it."""
    files: tuple[FileEntry, ...]
    verified_at: str
    created_at: str


class AliasMove(Recorded):
    """An alias of ``name`` now points to ``number``; None takes it away."""

    type: Literal["alias-move"] = "alias-move"
    format: int = FORMAT
    name: str
    alias: str
    number: int | None = None
    who: str
    why: str | None = None
    created_at: str


class Tag(Recorded):
    """A free label on a version; ``value`` None takes it away."""

    type: Literal["tag"] = "tag"
    format: int = FORMAT
    version: str
    key: str
    value: str | None = None
    created_at: str


class Removal(Recorded):
    """A version is no longer listed; its record stays."""

    type: Literal["removal"] = "removal"
    format: int = FORMAT
    version: str
    who: str
    why: str | None = None
    created_at: str


Record = Version | Evaluation | Publication | AliasMove | Tag | Removal
