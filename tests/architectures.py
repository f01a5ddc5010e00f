"""Tiny random models of many architectures, and what is found of each: the table in docs/reference/architectures.md.

Write that table again with `PYTHONPATH=workflow/scripts python tests/architectures.py`.
"""

import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from iclscope.activations.masks import MASKS, MaskFunction
from iclscope.activations.proofs import check_parts, readable_masks
from iclscope.activations.sites import SITES, Block, find_blocks
from iclscope.engine import models
from iclscope.engine.prompts import Prompt
from iclscope.engine.reference import Generator, Scorer, generation_method, score_plain, scoring_method
from iclscope.engine.scoring import score
from iclscope.runtime.errors import StudyError
from tiny import build_tokenizer

TABLE = Path(__file__).parents[1] / "docs/reference/architectures.md"
VOCABULARY = 400
WINDOW, CHUNK = 8, 16  # texts are longer than either
LENGTHS = (9, 14, 33, 50)
NEW_TOKENS = 4

# Taken by every config that knows the name.
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512,
    "sliding_window": WINDOW, "attention_chunk_size": CHUNK, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1,
    # mixtures of experts
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 16, "moe_k": 2, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
    "shared_expert_intermediate_size": 16, "shared_intermediate_size": 16,
    # latent attention
    "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    # recurrent layers
    "state_size": 8, "mamba_d_state": 8, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_num_heads": 8,
    "mamba_head_dim": 8, "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "mamba_dt_rank": 4, "mamba_chunk_size": 8, "chunk_size": 8, "ssm_state_size": 8,
}  # fmt: skip

MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
LATENT = {"head_dim": 8, "num_key_value_heads": 4}

# What else an architecture needs to be small and to have every kind of its layers.
KINDS: dict[str, dict[str, Any]] = {
    "afmoe": {"layer_types": MIXED, "num_dense_layers": 1},
    "apertus": {},
    "arcee": {},
    "aria_text": {},
    "bamba": {"attn_layer_indices": [1]},
    "biogpt": {},
    "bitnet": {},
    "bloom": {},
    "codegen": {"rotary_dim": 4},
    "cohere": {},
    "cohere2": {"layer_types": MIXED},
    "cwm": {"layer_types": MIXED},
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "diffllama": {},
    "doge": {},
    "ernie4_5": {},
    "ernie4_5_moe": {},
    "exaone4": {"layer_types": MIXED},
    "falcon": {},
    "falcon_h1": {"mamba_d_ssm": 64},
    "falcon_mamba": {},
    "flex_olmo": {},
    "gemma": {},
    "gemma2": {},
    "gemma3_text": {"layer_types": MIXED},
    "glm": {},
    "glm4": {},
    "glm4_moe": {},
    "gpt2": {},
    "gpt_bigcode": {},
    "gpt_neo": {
        "num_hidden_layers": 2, "attention_types": [[["global", "local"], 1]], "window_size": WINDOW,
    },
    "gpt_neox": {},
    "gpt_oss": {"layer_types": MIXED},
    "gptj": {"rotary_dim": 4},
    "granite": {"residual_multiplier": 0.5},
    "granitemoe": {},
    "granitemoehybrid": {"layer_types": ["mamba", "attention", "mamba"]},
    "granitemoeshared": {},
    "helium": {},
    "hunyuan_v1_dense": {},
    "hunyuan_v1_moe": {"moe_topk": 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "jetmoe": {},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv"]},
    "llama": {},
    "llama4_text": {
        "layer_types": ["chunked_attention", "full_attention", "chunked_attention"], "no_rope_layers": [1, 0, 1],
        "intermediate_size_mlp": 64, "interleave_moe_layer_step": 2,
    },
    "mamba": {},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "minicpm3": LATENT,
    "minimax": {},
    "ministral": {"layer_types": MIXED},
    "mistral": {},
    "mixtral": {},
    "mpt": {"d_model": 32, "n_layers": 3, "n_heads": 4},
    "nanochat": {},
    "nemotron": {},
    "nemotron_h": {"layer_types": ["linear_attention", "moe", "full_attention", "mlp"], "num_hidden_layers": 4},
    "olmo": {},
    "olmo2": {},
    "olmo3": {"layer_types": MIXED},
    "olmoe": {},
    "openai-gpt": {},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "persimmon": {},
    "phi": {},
    "phi3": {},
    "phimoe": {},
    "qwen2": {},
    "qwen2_moe": {},
    "qwen3": {},
    "qwen3_moe": {},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention", "linear_attention"]},
    "recurrent_gemma": {"attention_window_size": WINDOW, "lru_width": 32},
    "rwkv": {"attention_hidden_size": 32, "context_length": 512},
    "seed_oss": {},
    "smollm3": {},
    "stablelm": {},
    "starcoder2": {},
    "xglm": {"d_model": 32, "ffn_dim": 64, "num_layers": 3, "attention_heads": 4},
}  # fmt: skip

# Without a line of their own above: refused, each in a sentence.
REFUSED = {
    "bert": {"is_decoder": True},
    "roberta": {"is_decoder": True},
    "xlm": {"emb_dim": 32, "n_layers": 2, "n_heads": 4},
}


def build(kind: str) -> PreTrainedModel:
    """A tiny random model, the same on every call, whose weights are large enough for every part to matter."""
    state = torch.random.get_rng_state()
    torch.manual_seed(7)
    default = AutoConfig.for_model(kind)
    known = {key: value for key, value in SMALL.items() if _takes(default, key)}
    config = AutoConfig.for_model(kind, **{**known, **{**KINDS, **REFUSED}[kind]})
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    for name, weights in model.named_parameters():
        if weights.ndim > 1 and not name.endswith("A_log"):
            weights.add_(torch.randn(weights.shape), alpha=2 * max(weights.shape) ** -0.5)
    torch.random.set_rng_state(state)
    return model


def _takes(config: Any, key: str) -> bool:
    if key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        return True
    return hasattr(config, key) and not isinstance(getattr(type(config), key, None), property)


def prompts() -> list[Prompt]:
    """Prompts that share a prefix, shorter and longer than windows and chunks, with answers that begin alike."""
    rng = np.random.default_rng(0)

    def text(n: int) -> list[int]:
        return rng.integers(2, VOCABULARY, n).tolist()

    start, answer = text(6), text(2)
    return [Prompt(start + text(n - len(start)), [text(1), answer + text(1), answer + text(3)]) for n in LENGTHS]


@dataclass(frozen=True)
class Found:
    """What a model can do, as `models.load` gives it."""

    model: Any
    score: Scorer
    generate: Generator
    blocks: list[Block]
    masks: dict[str, MaskFunction | None]

    @property
    def row(self) -> tuple[str, ...]:
        """Its line in the table, behind the architecture's name."""
        scored = {score: "packed", score_plain: "a choice at a time"}.get(self.score, "a row at a time")
        refused = [mask for mask in MASKS if mask not in self.masks]
        masks = "all" if not refused else "causal" if len(self.masks) == 1 else f"all but {', '.join(refused)}"
        sites = [site for site in SITES if not all(site in block.undefined for block in self.blocks)]
        some = [site for site in sites if any(site in block.undefined for block in self.blocks)]
        return scored, masks, ", ".join(f"{site} (some layers)" if site in some else site for site in sites)


def find(folder: Path) -> Found:
    """What the model of a folder can do; raises StudyError for one that cannot be read."""
    model, tokenizer = models.load(folder, "float32", "cpu")
    tried, blocks = prompts(), find_blocks(model)
    check_parts(model, blocks, list(SITES))
    return Found(
        model,
        scoring_method(model, tried, 128),
        generation_method(model, tokenizer, tried, 128, NEW_TOKENS),
        blocks,
        _masks(model, blocks),
    )


def _masks(model: Any, blocks: list[Block]) -> dict[str, MaskFunction | None]:
    """Those masks that a model follows, with their functions."""
    followed: dict[str, MaskFunction | None] = {}
    for mask in MASKS:
        try:
            followed |= readable_masks(model, blocks, [mask])
        except StudyError:
            continue
    return followed


def save(kind: str, folder: Path) -> PreTrainedModel:
    """Put a tiny model of an architecture and a tokenizer into `folder`, as `prepare` does."""
    model = build(kind)
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return model


def table() -> str:
    """The document, from what is found of every architecture."""
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        for kind in KINDS:
            save(kind, Path(scratch, kind))
            lines.append(line(kind, find(Path(scratch, kind))))
    return TABLE_HEAD + "\n".join(lines) + "\n"


def line(kind: str, found: Found) -> str:
    """A line of the table."""
    return f"| {kind} | {' | '.join(found.row)} |"


TABLE_HEAD = """# What is known to work with which architecture

Made by `PYTHONPATH=workflow/scripts python tests/architectures.py` from tiny random models of every architecture, with
the version of transformers in `envs/requirements.txt`. A test holds it to what is found, and compares scores with the
evaluation harness, answers with `model.generate` and activations with hooks on single passes, for texts longer than
every window and chunk. Each job proves its own model again before it trusts it; other architectures are tried in the
same way, and refused in a sentence where they cannot be used.

- **scoring**: `packed` computes no token twice; `a choice at a time` gives the same, slower, where a model does not let
  its attention be replaced or knows recurrent layers, ALiBi or a mask of its own.
- **masks**: those that the model follows. `causal` alone: it takes no masks, and is read as it is.
- **sites**: those that it has. A mixture of experts has no `mlp_act`: no neurons that all tokens share. What a layer
  does not have is undefined in the metrics, with the reason.

| architecture | scoring | masks | sites |
|---|---|---|---|
"""


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table(), encoding="utf-8")
    sys.stdout.write(f"{TABLE}: {len(KINDS)} architectures\n")
