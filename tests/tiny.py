"""Tiny random models and tokenizers, built in the process: no download, no file of weights in the repository."""

from collections.abc import Callable
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers.models import BPE
from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

TEXT = [
    "Is the sky blue?\n\nQuestion: the sky is blue on a clear day, is it not?\nAnswer: yes",
    "Anna has three apples and buys 12 more.\nQuestion: How many apples does Anna have?\nAnswer: 15",
    "A passage about whales. They are mammals, and they breathe air.\nQuestion: is a whale a fish?\nAnswer: no",
]

VOCABULARY = 400
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
CONFIGS: dict[str, Callable[..., Any]] = {
    "llama": lambda **k: LlamaConfig(**{**SMALL, **HEADS, **k}),
    "qwen2": lambda **k: Qwen2Config(**{**SMALL, "num_attention_heads": 4, "num_key_value_heads": 2, **k}),
    "gemma": lambda **k: GemmaConfig(**{**SMALL, **HEADS, **k}),
    "gemma2": lambda **k: Gemma2Config(**{**SMALL, **HEADS, "sliding_window": 8, **k}),
    "gemma3": lambda **k: Gemma3TextConfig(**{**SMALL, **HEADS, "sliding_window": 8, "sliding_window_pattern": 2, **k}),
    "mistral": lambda **k: MistralConfig(**{**SMALL, **HEADS, "sliding_window": 8, **k}),
    "gpt2": lambda **k: GPT2Config(
        **{"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 512, **k}
    ),
}


def build_model(kind: str, **overrides: Any) -> PreTrainedModel:
    """A random model of an architecture, the same on every call."""
    state = torch.random.get_rng_state()
    torch.manual_seed(7)
    config = CONFIGS[kind](pad_token_id=None, bos_token_id=0, eos_token_id=1, **overrides)
    model = AutoModelForCausalLM.from_config(config)
    torch.random.set_rng_state(state)
    return model.eval().requires_grad_(False)


def build_tokenizer(bos: bool = False, joining: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer as GPT-2's, trained on three sentences; with `bos` it puts one before every text.

    With `joining` it splits text as Llama 3 and Qwen 2 do: punctuation and the line breaks after it are one token.
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if joining:
        words = pre_tokenizers.Split(Regex(r" ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"), "isolated")
        bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, bytewise])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*TEXT * 3, *["They breathe air.\n\nQuestion:"] * 3 * joining], trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
