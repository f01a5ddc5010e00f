"""How much of activations a dictionary explains, beside principal components and a dictionary without training."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from iclscope.saes.dictionary import Dictionary
from iclscope.saes.reading import Tokens

PIECE = 4096  # tokens that are encoded together
CONTEXTS = 5  # strongest contexts of a feature that are kept


def pieces(x: torch.Tensor, dictionary: Dictionary) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Activations [n, d] with their codes [n, width], some at a time."""
    for part in x.split(PIECE):
        part = part.to(dictionary.decoder.device)
        yield part, dictionary.encode(part)


def unexplained(dictionary: Dictionary, x: torch.Tensor, mean: torch.Tensor) -> tuple[float, float]:
    """Fraction of variance unexplained (FVU) of activations x [n, d], and active features per token (L0).

    FVU = sum |x - decode(encode(x))|^2 / sum |x - mean|^2, with the training `mean` [d].
    """
    error, active = 0.0, 0
    for part, codes in pieces(x, dictionary):
        error += float((part - dictionary.decode(codes)).square().sum())
        active += int((codes > 0).sum())
    return error / energy(x, mean), active / len(x)


def energy(x: torch.Tensor, mean: torch.Tensor) -> float:
    """Sum over tokens of the squared distance from `mean` [d]; never 0."""
    return max(float((x - mean).square().sum()), 1e-12)


def components_unexplained(train: torch.Tensor, held_out: torch.Tensor, mean: torch.Tensor, k: int) -> float:
    """FVU of activations `held_out` [n, d] by the first k principal components of `train` [m, d]."""
    centred = (train - mean).double()
    _, axes = torch.linalg.eigh(centred.T @ centred)
    rest = (held_out - mean).double()
    along = rest @ axes[:, -k:]
    return 1 - float(along.square().sum()) / energy(held_out, mean)


@dataclass(frozen=True)
class Survey:
    """What each feature does over many tokens: `density` [width], the share of tokens in which it is active, its mean
    `value` [width] there (NaN: in none), and `strongest` [CONTEXTS, width], places of tokens, -1 where there is none.
    """

    density: torch.Tensor
    value: torch.Tensor
    strongest: torch.Tensor


def survey(dictionary: Dictionary, tokens: Tokens) -> Survey:
    """The survey of all features over some tokens."""
    width = dictionary.width
    active, total = torch.zeros(width, dtype=torch.int64), torch.zeros(width, dtype=torch.float64)
    top, places = torch.zeros(CONTEXTS, width), torch.full((CONTEXTS, width), -1)
    start = 0
    for _, codes in pieces(tokens.x, dictionary):
        active += (codes > 0).sum(dim=0).cpu()
        total += codes.sum(dim=0).cpu()
        values, rows = codes.topk(min(CONTEXTS, len(codes)), dim=0)
        both, where = torch.cat([top, values.cpu()]), torch.cat([places, rows.cpu() + start])
        top, chosen = both.topk(CONTEXTS, dim=0)
        places = where.gather(0, chosen)
        start += len(codes)
    strongest = torch.where(top > 0, places, -1)
    return Survey(active / max(1, start), total / active, strongest)


def rows_of(name: str, found: Survey, contexts: dict[int, str]) -> dict[str, Any]:
    """Columns of the features table of an SAE; contexts: place of a token → the text around it."""
    strongest = found.strongest.T.tolist()
    return {
        "sae": [name] * len(strongest),
        "feature": list(range(len(strongest))),
        "density": found.density.tolist(),
        "mean_value": [None if value != value else value for value in found.value.tolist()],
        "contexts": [[contexts[place] for place in places if place >= 0] for places in strongest],
    }
