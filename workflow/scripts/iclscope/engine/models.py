"""Language models: where they run and how they are loaded."""

import json
import logging
import sys
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from iclscope.engine.cpu import pack_for_cpu
from iclscope.runtime import devices

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load(folder: str | Path, dtype: str, device: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the prepared model of `folder` for inference, from local files only, onto a GPU that no other job holds.

    dtype: float32 or bfloat16. device: as in the config. Attention runs through fused scaled dot products, which
    honour the explicit masks that scoring and extraction pass, but for models that cap the attention logits or for
    which transformers has no fused attention.
    """
    transformers_logging.disable_progress_bar()
    target = devices.take(devices.pick(device))
    tokenizer = load_tokenizer(folder)
    options = _options(folder)
    config = AutoConfig.from_pretrained(folder, **options)
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=DTYPES[dtype], attn_implementation="eager" if capped else None, use_safetensors=True, **options
    )
    model = model.to(target).eval().requires_grad_(False)
    logger.info(
        "%s: %s, %d million parameters, %s on %s, %d threads",
        Path(folder).name,
        type(model).__name__,
        round(model.num_parameters() / 1e6),
        dtype,
        target,
        torch.get_num_threads(),
    )
    pack_for_cpu(model)
    return model, tokenizer


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a prepared model."""
    return AutoTokenizer.from_pretrained(folder, **_options(folder))


def _options(folder: str | Path) -> dict[str, bool]:
    """How files of a prepared model are loaded: code of its own runs only if its record says that it was trusted."""
    source = Path(folder) / "source.json"
    record = json.loads(source.read_text(encoding="utf-8")) if source.is_file() else {}
    return {"local_files_only": True, "trust_remote_code": record.get("trust_remote_code", False)}


def load_context_length(folder: str | Path) -> int:
    """As `context_length`, of a prepared model whose weights are not loaded."""
    return _context_length(AutoConfig.from_pretrained(folder, **_options(folder)))


def context_length(model: PreTrainedModel) -> int:
    """Longest prompt in tokens that the model was built for; models without position embeddings set no limit."""
    return _context_length(model.config)


def _context_length(config: PreTrainedConfig) -> int:
    config = config.get_text_config()
    return int(getattr(config, "max_position_embeddings", None) or sys.maxsize)  # GPT-2's n_positions has this name too
