"""Small architectures by name: ``llama:128x4`` is a Llama of hidden size 128 and 4 layers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from isogloss.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class Shape(NamedTuple):
    """Hidden size and layers of a Llama; the rest follows from them."""

    hidden: int
    layers: int

    def __str__(self) -> str:
        return f"llama:{self.hidden}x{self.layers}"


def parse_shape(text: str) -> Shape:
    """Read ``llama:HIDDENxLAYERS``.

    >>> parse_shape("llama:128x4")
    Shape(hidden=128, layers=4)

    Raises:
        ConfigError: another form, or a hidden size that 32 does not divide.
    """
    found = re.fullmatch(r"llama:(\d+)x(\d+)", text)
    shape = Shape(int(found[1]), int(found[2])) if found else Shape(0, 0)
    if not (shape.hidden and shape.layers) or shape.hidden % 32:
        raise ConfigError(
            f"shape {text!r}",
            expected="llama:HIDDENxLAYERS with HIDDEN a multiple of 32, as llama:128x4",
        )
    return shape


def config(shape: Shape, *, vocab: int, context: int, end: int) -> PretrainedConfig:
    """A Llama config: heads of 32, MLP of 8/3 hidden (to a multiple of 32), tied embeddings.

    Args:
        vocab: entries of the tokenizer.
        context: longest sequence in tokens.
        end: id of the token that is beginning, end and padding at once.
    """
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocab,
        hidden_size=shape.hidden,
        intermediate_size=-(-shape.hidden * 8 // 3 // 32) * 32,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.hidden // 32,
        num_key_value_heads=shape.hidden // 32,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        initializer_range=0.02,
    )
