"""The three verbs: ``train_base``, ``train_cpt``, ``train_sft``; paths in, a folder out.

>>> from isogloss.train import Start, load_recipe, train_cpt       # doctest: +SKIP
>>> train_cpt(Start(Path("base")), [Path("naija.txt")], Path("out"), load_recipe("cpu-small"))
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from isogloss.errors import CheckpointError, TrainError
from isogloss.files import fresh_folder, refuse_occupied
from isogloss.madeby import made_by, now, write_sidecars
from isogloss.progress import Report, silent
from isogloss.settings import device as default_device
from isogloss.text import read_texts
from isogloss.train.recipe import TrainRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from isogloss.train.data import Mixture
    from isogloss.train.loop import Fitted

METHOD_VERSION = 1
"""Raised when the same recipe would train another model than before."""


class Start(NamedTuple):
    """What training begins from: a model, and an adapter on it where there is one."""

    model: Path
    adapter: Path | None = None
    label: str = ""
    """What the model is called (a reference or Hub id); written into the adapter's config, so
    that no path of this machine is."""


class TrainResult(NamedTuple):
    """The folder that training wrote, and what it recorded."""

    folder: Path
    made_by: dict[str, Any]


def train_base(
    files: Sequence[Path],
    out: Path,
    recipe: TrainRecipe,
    *,
    shape: str,
    vocab: int,
    field: str = "text",
    device: str | None = None,
    report: Report = silent,
) -> TrainResult:
    """A small model and its tokenizer from text alone.

    Args:
        shape: ``llama:HIDDENxLAYERS``.
        vocab: entries of the tokenizer.

    Raises:
        CorpusError: the text can't be read.
        UsageError: ``out`` is not empty.
    """
    refuse_occupied(out)
    started = now()
    quiet()
    import torch
    from transformers import LlamaForCausalLM

    from isogloss.train.data import end_token, language_rows
    from isogloss.train.shapes import config, parse_shape
    from isogloss.train.tokenizer import train_tokenizer

    wanted = parse_shape(shape)
    texts = list(read_texts(files, field))
    context = max(1024, recipe.sequence_length)
    report("tokenizer", 0, 1)
    tokenizer = train_tokenizer(texts, vocab, context)
    report("tokenizer", 1, 1)
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(
        config(wanted, vocab=len(tokenizer), context=context, end=end_token(tokenizer))
    )
    mixture = language_rows(tokenizer, files, recipe, field=field)
    # A new model has no adapter to speak of: all of it is trained.
    recipe = recipe.model_copy(update={"full": True})
    settings = {"kind": "base", "shape": str(wanted), "vocab": vocab, **recipe.normalised()}
    return _fit_and_write(
        model,
        tokenizer,
        mixture,
        recipe,
        settings,
        out,
        verb="train base",
        label="",
        started=started,
        device=device,
        report=report,
    )


def train_cpt(
    start: Start,
    files: Sequence[Path],
    out: Path,
    recipe: TrainRecipe,
    *,
    replay: Sequence[Path] = (),
    field: str = "text",
    device: str | None = None,
    report: Report = silent,
) -> TrainResult:
    """Continual pre-training: the language-model objective on more text, by LoRA or full weights.

    Raises:
        CorpusError: the text can't be read. CheckpointError: the base can't be loaded.
        TrainError: target modules that match nothing; a loss that is not finite.
    """
    from isogloss.train.data import language_rows

    return _tuned("cpt", language_rows, start, files, out, recipe, replay, field, device, report)


def train_sft(
    start: Start,
    files: Sequence[Path],
    out: Path,
    recipe: TrainRecipe,
    *,
    replay: Sequence[Path] = (),
    field: str = "text",
    device: str | None = None,
    report: Report = silent,
) -> TrainResult:
    """Supervised fine-tuning: the loss on the answer only, with replay text against forgetting.

    Starting from an adapter, a full run folds it into the weights first, and a LoRA run goes on
    training that adapter, whose base stays what it was.

    Raises: as :func:`train_cpt`.
    """
    from isogloss.train.data import answer_rows

    return _tuned("sft", answer_rows, start, files, out, recipe, replay, field, device, report)


def _tuned(
    kind: str,
    rows_of: Any,
    start: Start,
    files: Sequence[Path],
    out: Path,
    recipe: TrainRecipe,
    replay: Sequence[Path],
    field: str,
    device: str | None,
    report: Report,
) -> TrainResult:
    refuse_occupied(out)
    started = now()
    quiet()
    import torch

    tokenizer = load_tokenizer(start.model)
    mixture: Mixture = rows_of(tokenizer, files, recipe, replay=replay, field=field)
    torch.manual_seed(recipe.seed)
    model = _trainable(load_model(start.model), start, recipe)
    settings = {"kind": kind, "field": field, **recipe.normalised(), **_as_it_was(model)}
    return _fit_and_write(
        model,
        tokenizer,
        mixture,
        recipe,
        settings,
        out,
        verb=f"train {kind}",
        label=start.label,
        started=started,
        device=device,
        report=report,
    )


def quiet() -> None:
    """Keep transformers' own bars and advice to its developers off the terminal."""
    import warnings

    from transformers.utils import logging

    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def load_model(folder: Path) -> PreTrainedModel:
    """A causal language model from a local folder, in float32, from safetensors only."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{folder} can't be loaded: {str(error).splitlines()[0]}",
            expected="a transformers causal language model with safetensors weights",
        ) from error


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a local model folder."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{folder} has no tokenizer that can be loaded: {str(error).splitlines()[0]}",
            expected="tokenizer.json and tokenizer_config.json beside the weights",
        ) from error


def _trainable(model: PreTrainedModel, start: Start, recipe: TrainRecipe) -> Any:
    import peft

    if start.adapter is not None:
        tuned = peft.PeftModel.from_pretrained(
            model, str(start.adapter), is_trainable=not recipe.full, local_files_only=True
        )
        if not recipe.full:
            return tuned
        model = tuned.merge_and_unload()
        model.requires_grad_(True)
    if recipe.full:
        return model
    config = peft.LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.scale,
        lora_dropout=recipe.dropout,
        use_rslora=recipe.rslora,
        target_modules=recipe.targets,
        task_type="CAUSAL_LM",
    )
    try:
        return peft.get_peft_model(model, config)
    except ValueError as error:
        linear = (n for n, m in model.named_modules() if type(m).__name__ == "Linear")
        names = sorted({name.rsplit(".", 1)[-1] for name in linear})
        raise TrainError(
            f"targets {recipe.targets!r} match no module of the base",
            expected=f"all-linear, or some of {', '.join(names)}",
        ) from error


def _as_it_was(model: Any) -> dict[str, Any]:
    """The shape of an adapter that training goes on with; whatever the recipe says, it keeps it."""
    if getattr(model, "peft_config", None) is None:
        return {}
    config = model.peft_config[model.active_adapter]
    return {
        "rank": config.r,
        "alpha": float(config.lora_alpha),
        "dropout": config.lora_dropout,
        "rslora": config.use_rslora,
    }


def _fit_and_write(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    mixture: Mixture,
    recipe: TrainRecipe,
    settings: Mapping[str, Any],
    out: Path,
    *,
    verb: str,
    label: str,
    started: str,
    device: str | None,
    report: Report,
) -> TrainResult:
    import torch
    from safetensors import SafetensorError

    from isogloss.train.loop import fit

    device = device or default_device()
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    fitted: Fitted = fit(model, mixture.rows, recipe, device=device, report=report, label=verb)
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters() if p.requires_grad):
        raise TrainError("trained weights are not finite", hint="lower learning_rate")
    with fresh_folder(out) as folder:
        try:
            _save(model, tokenizer, folder, label)
        except SafetensorError as error:
            # safetensors reports what the system said, such as a full disk, only as text.
            raise TrainError(
                f"the weights can't be written: {error}",
                expected="a disk that isn't full",
                hint="free some space and run it again",
            ) from error
        facts = made_by(
            verb,
            settings,
            seed=recipe.seed,
            started=started,
            method_version=METHOD_VERSION,
            determinism="B",
            extra={
                **mixture.facts,
                "trainable": trainable,
                "parameters": total,
                "steps": fitted.steps,
                "tokens_seen": fitted.tokens,
                "first_loss": fitted.first_loss,
                "last_loss": fitted.last_loss,
                "device": device,
                "threads": torch.get_num_threads(),
            },
        )
        write_sidecars(folder, facts)
    del model
    gc.collect()
    return TrainResult(out, facts)


def _save(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, label: str) -> None:
    import peft

    model.to("cpu")
    if isinstance(model, peft.PeftModel):
        for config in model.peft_config.values():
            config.base_model_name_or_path = label
            config.inference_mode = True
        # The base's embeddings are never trained here; without this PEFT looks for its config.
        model.save_pretrained(folder, save_embedding_layers=False)
        # PEFT's card template tells nothing; ours is made from the records.
        (folder / "README.md").unlink(missing_ok=True)
    else:
        model.config.name_or_path = ""
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
