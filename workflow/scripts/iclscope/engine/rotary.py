"""Rotary factors that follow the longest sequence of a forward pass, and which sequences may therefore share one.

`longrope` turns positions by other factors once a sequence of the pass is longer than the model was first trained for;
`dynamic` takes them from the length of the longest one, and keeps them until a short one comes. Alone, a sequence is
turned by its own. Models without such factors (all others) let any sequences share a pass.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch


def length_class(model: Any) -> Callable[[int], int]:
    """A function from the length of a sequence, in tokens, to what its factors depend on: 0 for the usual ones."""
    long, dynamic = _limits(model)

    def of(length: int) -> int:
        return length if length > dynamic else int(length > long)

    return of


def apart(model: Any, lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the places of sequences of these lengths that may share forward passes, longest sequences last.

    Between one such group and the next, the model has to `forget`.
    """
    of = length_class(model)
    for wanted in sorted(set(map(of, lengths))):
        yield [place for place, length in enumerate(lengths) if of(length) == wanted]


def forget(model: Any) -> None:
    """Let `model` read something short, without which dynamic factors stay those of the longest sequence so far."""
    if any("dynamic" in kind for kind, _ in _kinds(model)):
        with torch.inference_mode():
            model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=model.device), use_cache=False)


def _limits(model: Any) -> tuple[float, float]:
    """Longest sequence with the usual factors: of longrope and of dynamic ones; infinite without them."""
    found = {"longrope": float("inf"), "dynamic": float("inf")}
    for kind, limit in _kinds(model):
        name = "dynamic" if "dynamic" in kind else kind
        found[name] = min(found[name], limit)
    return found["longrope"], found["dynamic"]


def _kinds(model: Any) -> Iterator[tuple[str, int]]:
    """Each kind of such factors in a model, and the longest sequence that has the usual ones."""
    for module in model.modules():
        kinds = getattr(module, "rope_type", None)
        for layer, kind in kinds.items() if isinstance(kinds, dict) else [(None, kinds)]:
            if kind == "longrope":
                parameters = module.config.rope_parameters
                limit = (parameters[layer] if layer else parameters)["original_max_position_embeddings"]
                yield kind, limit
            elif isinstance(kind, str) and "dynamic" in kind:
                yield kind, module.original_max_seq_len
