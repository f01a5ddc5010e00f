"""GGUF models, dequantised once to plain float32 safetensors."""

import logging
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from iclscope.engine.models import check_weights, from_pretrained_with_report
from iclscope.runtime.errors import StudyError, first_line

logger = logging.getLogger(__name__)


def convert(gguf: Path, folder: Path, key: str) -> None:
    """Write config, float32 weights and tokenizer of a GGUF file to `folder`.

    Peak memory is about twice the float32 weights. key: the config key that names the file, for the error.
    """
    transformers_logging.disable_progress_bar()
    logger.info("%s: dequantising %s, %.0f MB", key, gguf.name, gguf.stat().st_size / 1e6)
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        loaded, found = from_pretrained_with_report(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    except Exception as error:  # reading a file that may hold anything may raise anything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise StudyError(_unreadable(gguf, key, reason)) from error
    check_weights(found, f"{key}: {gguf.name}")
    # A model that remembers its quantisation refuses to be saved: move the weights into one that does not.
    config = loaded.config
    del config.quantization_config
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # weights are saved as private to the user


def read_architecture(gguf: Path, folder: Path, key: str) -> None:
    """Write config and tokenizer of a GGUF file to `folder`; its weights stay where they are.

    key: the config key that names the file, for the error.
    """
    try:
        parts = [kind.from_pretrained(gguf.parent, gguf_file=gguf.name) for kind in (AutoConfig, AutoTokenizer)]
    except Exception as error:  # reading a file that may hold anything may raise anything
        raise StudyError(_unreadable(gguf, key, first_line(error))) from error
    for part in parts:
        part.save_pretrained(folder)


def _unreadable(gguf: Path, key: str, reason: str) -> str:
    return (
        f"{key}: {gguf.name} is not a GGUF model that transformers can read, or is cut short ({reason}); fetch it "
        "again, or choose another"
    )
