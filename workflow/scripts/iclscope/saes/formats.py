"""Folders of published sparse autoencoders, in the formats of those who train them.

sae_lens   cfg.json, sae_weights.safetensors: SAELens (dictionary.py)
sparsify   cfg.json, sae.safetensors: EleutherAI's sparsify, top-k, the decoder's bias taken from the input
gemma_2    params.npz: Gemma Scope (Lieberum et al. 2024), JumpReLU, the input as it is
gemma_3    config.json, params.safetensors: Gemma Scope 2, the same
"""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iclscope.runtime.configuration.registries import SAE_FORMATS, SAE_LENS
from iclscope.runtime.errors import StudyError, first_line
from iclscope.saes.dictionary import JUMP_RELU, TOP_K, Dictionary, assembled, load, read_json, read_tensors

SPARSIFY = {"encoder.weight": "W_enc", "encoder.bias": "b_enc", "W_dec": "W_dec", "b_dec": "b_dec"}
TRANSCODERS = ("transcode", "skip_connection")


def read(folder: Path, form: str, key: str) -> tuple[Dictionary, Mapping[str, Any]]:
    """The SAE of a folder in the format `form`, and what the folder says of its making; `key` begins every error."""
    return READERS[form](folder, key)


def _sae_lens(folder: Path, key: str) -> tuple[Dictionary, Mapping[str, Any]]:
    return load(folder, key), read_json(folder / SAE_FORMATS[SAE_LENS][0], key).get("metadata") or {}


def _sparsify(folder: Path, key: str) -> tuple[Dictionary, Mapping[str, Any]]:
    config, path = (folder / name for name in SAE_FORMATS["sparsify"])
    record = read_json(config, key)
    if missing := [name for name in ("d_in", "k") if not isinstance(record.get(name), int)]:
        raise StudyError(f"{key}: {config} lacks {', '.join(missing)}; name a folder in sparsify's format")
    if any(record.get(name) for name in TRANSCODERS):
        raise StudyError(f"{key}: {config} is that of a transcoder, which rebuilds another site; take an SAE")
    if record.get("activation", TOP_K) != TOP_K or record.get("signed"):
        found = "codes below zero (signed)" if record.get("signed") else f"activation {record['activation']!r}"
        raise StudyError(f"{key}: {config} has {found}; take an SAE with activation {TOP_K}")
    named = {SPARSIFY.get(name, name): tensor for name, tensor in read_tensors(path, key).items()}
    if "W_enc" in named:
        named["W_enc"] = named["W_enc"].T
    sizes = (record["d_in"], _features(named, (path, key)))
    return assembled(named, (path, key), sizes, architecture=TOP_K, k=record["k"]), {}


def _gemma_2(folder: Path, key: str) -> tuple[Dictionary, Mapping[str, Any]]:
    path = folder / SAE_FORMATS["gemma_2"][0]
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    array = np.lib.format.read_array(file, allow_pickle=False)
                found[name.removesuffix(".npy")] = torch.from_numpy(array)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise StudyError(f"{key}: {path} cannot be read ({first_line(error)}); complete the folder") from error
    return _jump_relu(found, (path, key)), {}


def _gemma_3(folder: Path, key: str) -> tuple[Dictionary, Mapping[str, Any]]:
    config, path = (folder / name for name in SAE_FORMATS["gemma_3"])
    record = read_json(config, key)
    if record.get("architecture") != "jump_relu":
        raise StudyError(f"{key}: {config} has architecture {record.get('architecture')!r}; take one with jump_relu")
    return _jump_relu(read_tensors(path, key), (path, key)), record


def _jump_relu(found: Mapping[str, torch.Tensor], of: tuple[Path, str]) -> Dictionary:
    """A dictionary from the parameters of either Gemma Scope, which write `w_enc` or `W_enc`."""
    named = {f"W{name[1:]}" if name.startswith("w_") else name: tensor for name, tensor in found.items()}
    encoder = named.get("W_enc")
    neurons = len(encoder) if encoder is not None and encoder.ndim else 0
    return assembled(named, of, (neurons, _features(named, of)), architecture=JUMP_RELU, centred=False)


def _features(found: Mapping[str, torch.Tensor], of: tuple[Path, str]) -> int:
    """Number of features: rows of the decoder."""
    decoder = found.get("W_dec")
    if decoder is None or decoder.ndim != 2:  # features x neurons
        path, key = of
        raise StudyError(f"{key}: {path} holds no decoder of one layer (W_dec); take an SAE, or set its format")
    return len(decoder)


READERS: dict[str, Callable[[Path, str], tuple[Dictionary, Mapping[str, Any]]]] = {
    SAE_LENS: _sae_lens,
    "sparsify": _sparsify,
    "gemma_2": _gemma_2,
    "gemma_3": _gemma_3,
}
