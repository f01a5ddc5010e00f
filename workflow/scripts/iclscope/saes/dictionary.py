"""A sparse autoencoder (SAE): how it reads an activation, and its files in SAELens's format.

Two files make a folder: `cfg.json` says the architecture, `sae_weights.safetensors` holds W_enc [d, width], b_enc
[width], W_dec [width, d], b_dec [d] and, for JumpReLU, threshold [width]. They can be opened by SAELens, and such
folders from elsewhere are read here; torch and safetensors are all that is needed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import atomic_file, write_text

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
TOP_K, JUMP_RELU, STANDARD = "topk", "jumprelu", "standard"
ARCHITECTURES = (TOP_K, JUMP_RELU, STANDARD)


@dataclass(frozen=True)
class Dictionary:
    """The weights of a sparse autoencoder, in float32; rows of `decoder` are its features.

    encoder [d, width], encoder_bias [width], decoder [width, d], decoder_bias [d]. `k` is the number of features that
    a top-k SAE leaves active, `threshold` [width] that of JumpReLU. `centred`: whether the decoder's bias is taken
    from an activation before it is encoded.
    """

    architecture: str
    encoder: torch.Tensor
    encoder_bias: torch.Tensor
    decoder: torch.Tensor
    decoder_bias: torch.Tensor
    k: int = 0
    threshold: torch.Tensor | None = None
    centred: bool = True

    @property
    def width(self) -> int:
        """Number of features."""
        return self.decoder.shape[0]

    @property
    def inputs(self) -> int:
        """Number of neurons of the activations that it reads."""
        return self.decoder.shape[1]

    def to(self, device: torch.device | str) -> "Dictionary":
        """The same on another device."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor)
        }
        return replace(self, **tensors)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """How active every feature is: activations [n, d] to codes [n, width], none below zero.

        With h = (x - b_dec) W_enc + b_enc: the k largest h, none below zero (top-k; Gao et al. 2024); h where it is
        above the threshold and zero (JumpReLU; Rajamanoharan et al. 2024); max(h, 0) (standard).
        """
        h = (x.float() - self.decoder_bias if self.centred else x.float()) @ self.encoder + self.encoder_bias
        if self.architecture == TOP_K:
            values, places = h.topk(self.k, dim=-1)
            return torch.zeros_like(h).scatter_(-1, places, values.relu())
        if self.threshold is not None:
            return h.relu() * (h > self.threshold)
        return h.relu()

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """The activations [n, d] that codes [n, width] stand for."""
        return codes @ self.decoder + self.decoder_bias

    def save(self, config: str | Path, weights: str | Path, metadata: Mapping[str, Any]) -> None:
        """Write its two files; metadata: what it was made from, as SAELens keeps it."""
        record: dict[str, Any] = {
            "architecture": self.architecture,
            "d_in": self.inputs,
            "d_sae": self.width,
            "dtype": "float32",
            "device": "cpu",
            "apply_b_dec_to_input": self.centred,
            "normalize_activations": "none",
            "reshape_activations": "none",
            "metadata": dict(metadata),
        }
        if self.architecture == TOP_K:
            record |= {"k": self.k, "rescale_acts_by_decoder_norm": False}
        named = {"W_enc": self.encoder, "b_enc": self.encoder_bias, "W_dec": self.decoder, "b_dec": self.decoder_bias}
        if self.threshold is not None:
            named["threshold"] = self.threshold
        with atomic_file(weights) as temporary:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}, temporary)
        write_text(config, json.dumps(record, indent=2, sort_keys=True) + "\n")


def load(folder: str | Path, key: str) -> Dictionary:
    """Read the two files of a folder; `key` of the config begins every error."""
    record = read_json(Path(folder) / CONFIG, key)
    record = _config(record, Path(folder) / CONFIG, key)
    path = Path(folder) / WEIGHTS
    found = read_tensors(path, key)
    if bool((found.get("scaling_factor", torch.zeros(1)) == 1).all()):
        del found["scaling_factor"]  # which SAELens has written for a time, whether or not there was one
    architecture = record["architecture"]
    dictionary = assembled(
        found,
        (path, key),
        (record["d_in"], record["d_sae"]),
        architecture=architecture,
        k=record["k"] if architecture == TOP_K else 0,
        centred=record.get("apply_b_dec_to_input", True),
    )
    return _folded(dictionary) if record.get("rescale_acts_by_decoder_norm", False) else dictionary


def read_json(path: Path, key: str) -> dict[str, Any]:
    """What a file says of an SAE; refuses one that cannot be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{key}: {path} cannot be read ({error}); complete the folder, or set its format") from error
    if not isinstance(record, dict):
        raise StudyError(f"{key}: {path} holds no settings by name; complete the folder, or set its format")
    return record


def read_tensors(path: Path, key: str) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file by name, as they are; refuses one that cannot be read."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise StudyError(f"{key}: {path} cannot be read ({error}); complete the folder, or set its format") from error


def assembled(
    found: Mapping[str, torch.Tensor],
    of: tuple[Path, str],
    sizes: tuple[int, int],
    *,
    architecture: str,
    k: int = 0,
    centred: bool = True,
) -> Dictionary:
    """A dictionary of weights under the names that SAELens has for them, in float32.

    of: the file that they come from, and the key of the config, for errors. sizes: neurons and features. Refuses
    weights that are missing, unknown, of another shape, no floating-point numbers, or not finite.
    """
    (path, key), (d, width) = of, sizes
    shapes = {"W_enc": (d, width), "b_enc": (width,), "W_dec": (width, d), "b_dec": (d,)}
    if architecture == JUMP_RELU:
        shapes["threshold"] = (width,)
    wrong = [name for name, shape in shapes.items() if name not in found or tuple(found[name].shape) != shape]
    if wrong or found.keys() - shapes.keys():
        names = ", ".join([*wrong, *sorted(found.keys() - shapes.keys())])
        raise StudyError(
            f"{key}: {path} does not hold the weights of a {architecture} SAE of {d} neurons and {width} features "
            f"({names}); complete the folder, or set its format"
        )
    if other := [name for name, tensor in found.items() if not tensor.is_floating_point()]:
        kind = str(found[other[0]].dtype).removeprefix("torch.")
        raise StudyError(f"{key}: {path} holds {other[0]} as {kind}; take an SAE whose weights are not quantised")
    weights = {name: tensor.float() for name, tensor in found.items()}
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise StudyError(f"{key}: {path} holds weights that are not finite; fetch it again")
    return Dictionary(
        architecture,
        weights["W_enc"],
        weights["b_enc"],
        weights["W_dec"],
        weights["b_dec"],
        k,
        weights["threshold"].relu() if architecture == JUMP_RELU else None,
        centred,
    )


def _config(record: dict[str, Any], path: Path, key: str) -> dict[str, Any]:
    """What SAELens's `cfg.json` says, if this is an SAE that can be read, under the names of its version 6."""
    if "architecture" not in record and {"d_in", "d_sae"} <= record.keys():  # of an earlier version
        function = record.get("activation_fn", record.get("activation_fn_str", "relu"))
        record = record | {"architecture": {"relu": STANDARD}.get(function, function)}
    if record.get("architecture") == TOP_K:
        record = {"k": (record.get("activation_fn_kwargs") or {}).get("k"), **record}
    needed = ("architecture", "d_in", "d_sae", *(["k"] if record.get("architecture") == TOP_K else []))
    missing = [name for name in needed if record.get(name) is None]
    if missing:
        raise StudyError(f"{key}: {path} lacks {', '.join(missing)}; name a folder in SAELens's format")
    if record["architecture"] not in ARCHITECTURES:
        raise StudyError(
            f"{key}: {path} has architecture {record['architecture']!r}; choose one of {', '.join(ARCHITECTURES)}"
        )
    for name in ("normalize_activations", "reshape_activations"):
        if record.get(name) not in (None, False, "none"):
            raise StudyError(f"{key}: {path} has {name} {record[name]!r}, which is not read here; fold it into weights")
    return record


def _folded(dictionary: Dictionary) -> Dictionary:
    """The same SAE with unit decoder rows, for one whose pre-activations count in units of these rows' lengths."""
    length = dictionary.decoder.norm(dim=-1)
    return replace(
        dictionary,
        encoder=dictionary.encoder * length,
        encoder_bias=dictionary.encoder_bias * length,
        decoder=dictionary.decoder / length[:, None],
    )


def untrained(width: int, k: int, centre: torch.Tensor, rng: np.random.Generator) -> Dictionary:
    """A top-k dictionary of random directions around `centre` [d]: unit decoder rows, and the encoder tied to them.

    Training begins with it; left as it is, it is the control that a trained dictionary must beat.
    """
    rows = torch.from_numpy(rng.standard_normal((width, len(centre)), dtype=np.float32))
    rows /= rows.norm(dim=-1, keepdim=True)
    return Dictionary(TOP_K, rows.T.contiguous(), torch.zeros(width), rows, centre.float(), k)
