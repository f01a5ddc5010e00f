"""Whether a dictionary belongs to the site and layer that the configuration names.

A wrong layer raises no error, and the residual streams of neighbours are alike. So some texts are read through all
layers, and the dictionary must explain most where it is said to belong.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch

from iclscope.activations.reading import Demonstration
from iclscope.activations.sites import find_blocks
from iclscope.runtime.errors import StudyError
from iclscope.saes.dictionary import Dictionary
from iclscope.saes.explained import unexplained
from iclscope.saes.reading import Tokens, median_norm, read_layers

logger = logging.getLogger(__name__)

SITES = ("resid", "mlp_out")
TOKENS = 2000  # that are read
TRAIN = "raise tokens or epochs, or train it at another site or layer"


def check(
    model: Any,
    texts: Sequence[Demonstration],
    dictionary: Dictionary,
    place: tuple[str, int],
    key: str,
    trained: bool = False,
) -> None:
    """Refuse a dictionary that does not explain most at its `place`, a site and a block index.

    key: of its entry in the config, for errors. trained: whether it was trained here, on these texts.
    """
    width = find_blocks(model)[place[1]].width(place[0])
    if dictionary.inputs != width:
        raise StudyError(
            f"{key}: the SAE reads {dictionary.inputs} neurons, {place[0]} at layer {place[1]} of the model has "
            f"{width}; correct model, site or layer, or take another SAE"
        )
    parts: dict[tuple[str, int], list[Tokens]] = {}
    for found in read_layers(model, _some(texts), SITES):
        for where, tokens in found.items():
            parts.setdefault(where, []).append(tokens)
    left = {}
    for where, several in parts.items():
        tokens = Tokens.joined(several)
        x = tokens.usable(median_norm(tokens)).x
        left[where] = unexplained(dictionary, x, x.mean(dim=0))[0] if x.shape[1] == dictionary.inputs else torch.inf
    best = min(left, key=lambda where: left[where])
    logger.info("FVU %.3f at %s, layer %d; smallest %.3f at %s, layer %d", left[place], *place, left[best], *best)
    if best != place:
        raise StudyError(
            f"{key}: the SAE leaves {left[place]:.2f} of the variance unexplained at {place[0]}, layer {place[1]}, but "
            f"{left[best]:.2f} at {best[0]}, layer {best[1]}; "
            f"{TRAIN if trained else 'correct site and layer, or take another SAE'}"
        )
    if left[place] >= 1:
        why = TRAIN if trained else "it is of another model; take another SAE"
        raise StudyError(f"{key}: the SAE explains nothing at any layer: {why}")


def _some(texts: Sequence[Demonstration]) -> list[Demonstration]:
    chosen, tokens = [], 0
    for one in texts:
        if tokens >= TOKENS:
            break
        chosen.append(one)
        tokens += len(one.tokens.ids)
    return chosen
