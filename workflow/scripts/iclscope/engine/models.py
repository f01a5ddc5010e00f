"""Language models: where they run and how they are loaded."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from iclscope.engine.cpu import keep_memory, pack_for_cpu
from iclscope.runtime import devices
from iclscope.runtime.errors import StudyError

if TYPE_CHECKING:  # imports of seconds, for the code of all models, that whoever wants a tokenizer need not wait for
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Causal masks, and what they once put in the place of hidden logits: the same in every model.
OLD_MASKS = re.compile(r"\.(attn|attention)\.(bias|masked_bias|causal_mask)$")
NAMED = 3  # weights in an error, where there are more


def load(folder: str | Path, dtype: str, device: str) -> tuple["PreTrainedModel", PreTrainedTokenizerBase]:
    """Load the prepared model of `folder` for inference, from local files only, onto a GPU that no other job holds.

    dtype: one of DTYPES. device: as in the config. Attention runs through fused scaled dot products, which
    honour the explicit masks that scoring and extraction pass, but for models that cap the attention logits or for
    which transformers has no fused attention. Refuses weights that do not fit the model's config.
    """
    transformers_logging.disable_progress_bar()
    target = devices.take(devices.pick(device))
    tokenizer = load_tokenizer(folder)
    options = _options(folder)
    config = AutoConfig.from_pretrained(folder, **options)
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    model, found = from_pretrained_with_report(
        folder,
        dtype=DTYPES[dtype],
        attn_implementation="eager" if capped else None,
        use_safetensors=True,
        **options,
    )
    check_weights(found, f"models.{Path(folder).name}")
    model = model.to(target).eval().requires_grad_(False)  # type: ignore[arg-type]  # `to` is annotated as unbound
    logger.info(
        "%s: %s, %d million parameters, %s on %s, %d threads",
        Path(folder).name,
        type(model).__name__,
        round(model.num_parameters() / 1e6),
        dtype,
        target,
        torch.get_num_threads(),
    )
    if target.type == "cpu":
        keep_memory()
        pack_for_cpu(model)
    return model, tokenizer


def from_pretrained_with_report(folder: str | Path, **options: Any) -> tuple["PreTrainedModel", Mapping[str, Any]]:
    """A causal language model as `from_pretrained` loads it, and what that says of its loading, for `check_weights`.

    Transformers makes up what it does not find, and only this report says so. What a file holds of masks and positions
    that the model computes for itself, as earlier versions of transformers saved them, is left out of the report.
    options: others of `from_pretrained`.
    """
    # Annotated in transformers as the model alone, which the loading info makes the first of two.
    both: Any = AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, ignore_mismatched_sizes=True, **options
    )
    model, found = both
    buffers = {name for name, _ in model.named_buffers()}
    buffers |= {name.removeprefix(f"{model.base_model_prefix}.") for name in buffers}
    unexpected = [name for name in found["unexpected_keys"] if name not in buffers and not OLD_MASKS.search(name)]
    return model, {**found, "unexpected_keys": unexpected}


def check_weights(found: Mapping[str, Any], key: str) -> None:
    """Refuse weights of which some are missing, unknown to the model or of another shape.

    What is missing would be drawn at random, by each job anew. found: as `from_pretrained_with_report` returns it;
    key: how the error begins.
    """
    wrong = {
        "lack {}": found["missing_keys"],
        "hold {}, which the model has not": found["unexpected_keys"],
        "hold {} in another shape than the model's": [name for name, *_ in found["mismatched_keys"]],
    }
    said = [text.format(_some(sorted(names))) for text, names in wrong.items() if names]
    if said:
        raise StudyError(
            f"{key}: the weights {', '.join(said)}; complete them, or correct the config if it is another model's"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def load_config(folder: str | Path) -> PreTrainedConfig:
    """Load the config of a prepared model."""
    return AutoConfig.from_pretrained(folder, **_options(folder))


def from_config(folder: str | Path, config: PreTrainedConfig, **options: Any) -> Any:
    """A model that `config`, that of a prepared model or a change of it, describes, with weights of no file."""
    trusted = _options(folder)["trust_remote_code"]
    return AutoModelForCausalLM.from_config(config, trust_remote_code=trusted, **options)


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
    return _context_length(load_config(folder))


def context_length(model: "PreTrainedModel") -> int:
    """Longest prompt in tokens that the model was built for; models without position embeddings set no limit."""
    return _context_length(model.config)


def _context_length(config: PreTrainedConfig) -> int:
    config = config.get_text_config()
    return int(getattr(config, "max_position_embeddings", None) or sys.maxsize)  # GPT-2's n_positions has this name too
