"""Models on their way into the scorer: a base loaded once, adapters put on and taken off."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from isogloss.errors import AdapterError, CheckpointError, EvalError, UnsafeInput, UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")
_UNBOUNDED = 10**9
_DEFAULT_LENGTH = 2048


class Loaded(NamedTuple):
    """A model ready to score, on its device, in evaluation mode."""

    model: Any
    tokenizer: Any
    length: int
    """The most tokens that the model reads at once."""
    prefix: int
    """The token that the first token of a text is conditioned on: BOS, else EOS."""
    opening: tuple[int, ...]
    """What the tokenizer itself puts before a text (BOS, or nothing)."""


def open_model(path: Path, *, device: str = "cpu", dtype: str = "float32") -> Loaded:
    """Load a model folder and its tokenizer; nothing is fetched and no code of theirs is run.

    Raises:
        CheckpointError: no model there, weights in pickles only, or weights missing from it.
        EvalError: no tokenizer, or one without BOS and EOS.
        UsageError: an unknown dtype.
    """
    from transformers import AutoModelForCausalLM

    if dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}", expected=", ".join(DTYPES))
    _check_model_folder(path)
    tokenizer = _open_tokenizer(path)
    try:
        with _quiet():
            model, info = AutoModelForCausalLM.from_pretrained(
                path,
                dtype=DTYPES[dtype],
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"{path} can't be loaded: {first}") from error
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(
            f"{path} lacks {len(missing)} weights, {missing[0]} among them",
            expected="every weight of its architecture: the rest would be random",
        )
    model.requires_grad_(False).eval().to(device)
    return Loaded(model, tokenizer, _length(model, tokenizer), *_edges(tokenizer, path))


@contextlib.contextmanager
def with_adapter(loaded: Loaded, path: Path) -> Iterator[Loaded]:
    """``loaded`` with a PEFT adapter on it, for the length of the block; then as it was.

    Raises:
        AdapterError: no adapter there, or one that doesn't fit the model, to the last tensor.
        UnsafeInput: its weights are in a pickle.
    """
    from peft import PeftConfig, get_peft_model, load_peft_weights, set_peft_model_state_dict

    _check_adapter_folder(path)
    device = str(loaded.model.device)
    modules = dict(loaded.model.named_modules(remove_duplicate=False))
    biases: dict[str, torch.Tensor] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = PeftConfig.from_pretrained(str(path))
            if config.is_prompt_learning:
                raise AdapterError(
                    f"{path} is a {config.peft_type.value} adapter", expected="one of weights"
                )
            config.inference_mode = True
            # Else initialisations such as PiSSA would rewrite the base.
            if hasattr(config, "init_lora_weights"):
                config.init_lora_weights = True
            if getattr(config, "bias", "none") != "none":
                biases = _biases(loaded.model)
            weights = load_peft_weights(str(path), device=device)
            peft = get_peft_model(loaded.model, config)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise AdapterError(f"{path} can't be put on the model: {first}") from error
    try:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outcome = set_peft_model_state_dict(peft, weights)
        except (RuntimeError, KeyError) as error:
            found = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise AdapterError(
                f"{path} doesn't fit the model: {found[1] if len(found) > 1 else found[0]}",
                expected="an adapter of this base",
            ) from error
        lacking = [key for key in outcome.missing_keys if "default" in key]
        if lacking or outcome.unexpected_keys:
            key = (lacking or outcome.unexpected_keys)[0]
            what = "lacks" if lacking else "holds, for no place in the model,"
            raise AdapterError(f"{path} {what} {key}", expected="an adapter of this base")
        peft.to(device=loaded.model.device).eval()
        yield loaded._replace(model=peft)
    finally:
        _restore(loaded.model, modules, biases)


def _biases(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.clone() for n, p in model.named_parameters() if n.endswith("bias")}


def _restore(
    model: Any, modules: Mapping[str, torch.nn.Module], biases: Mapping[str, torch.Tensor]
) -> None:
    """Put every module of the base back in its place, and biases to their values.

    PEFT's ``unload`` leaves modules that an adapter saved whole, and overwritten biases. It also
    starts the thread of a progress bar, which never returns where a block is left unfinished
    until the interpreter ends.
    """
    for name, module in modules.items():
        parent, _, leaf = name.rpartition(".")
        if name and getattr(modules[parent], leaf) is not module:
            setattr(modules[parent], leaf, module)
    if hasattr(model, "peft_config"):
        del model.peft_config
    with torch.no_grad():
        for name, value in biases.items():
            model.get_parameter(name).copy_(value)


def _check_model_folder(path: Path) -> None:
    if not (path / "config.json").is_file():
        raise CheckpointError(f"{path} holds no config.json", expected="a model folder")
    if not any(path.glob("*.safetensors")):
        if any(path.glob("*.bin")) or any(path.glob("*.pt")):
            raise UnsafeInput(f"{path} keeps its weights in a pickle", expected="model.safetensors")
        raise CheckpointError(f"{path} holds no weights", expected="model.safetensors")


def _check_adapter_folder(path: Path) -> None:
    if not (path / "adapter_config.json").is_file():
        raise AdapterError(f"{path} holds no adapter_config.json", expected="a PEFT adapter folder")
    if not (path / "adapter_model.safetensors").is_file():
        if (path / "adapter_model.bin").is_file():
            raise UnsafeInput(
                f"{path} keeps its weights in a pickle", expected="adapter_model.safetensors"
            )
        raise AdapterError(f"{path} holds no weights", expected="adapter_model.safetensors")


def _open_tokenizer(path: Path) -> Any:
    from transformers import AutoTokenizer

    if not any((path / name).is_file() for name in _TOKENIZER_FILES):
        raise EvalError(
            f"{path} has no tokenizer",
            expected="tokenizer.json beside the model",
            hint="copy it there from the model's base",
        )
    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().partition("\n")[0]
        raise EvalError(f"the tokenizer in {path} can't be loaded: {first}") from error


def _length(model: Any, tokenizer: Any) -> int:
    config = model.config.get_text_config()
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    stated = int(getattr(tokenizer, "model_max_length", _UNBOUNDED))
    return stated if 0 < stated < _UNBOUNDED else _DEFAULT_LENGTH


def _edges(tokenizer: Any, path: Path) -> tuple[int, tuple[int, ...]]:
    prefix = tokenizer.bos_token_id
    prefix = tokenizer.eos_token_id if prefix is None else prefix
    if prefix is None:
        raise EvalError(
            f"the tokenizer in {path} names neither a BOS nor an EOS token",
            expected="one of them: the first token of a text is conditioned on it",
        )
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    start = next((i for i in range(len(full)) if full[i : i + len(bare)] == bare), 0)
    return int(prefix), tuple(full[:start])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar of transformers while a model loads: the command line draws its own."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
