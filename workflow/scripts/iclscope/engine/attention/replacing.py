"""A model's attention, for a while replaced by another function in all of its layers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface

NAME = "iclscope"

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Any, float | None, float | None], torch.Tensor]


@dataclass
class Use:
    """The function that attends at present, and how many layers have called it."""

    attend: Attend
    layers: int = 0


_current: list[Use] = []


@contextmanager
def replaced(model: Any, attend: Attend) -> Iterator[Use]:
    """While open, every layer of `model` attends by `attend`.

    attend: takes query [1, heads, tokens, d_head], key and value [1, heads, cached + tokens, d_head], the mask that the
    model was given for this kind of layer, the factor of the products and the soft cap that the model may have; returns
    [1, tokens, heads, d_head]. Raises NotImplementedError on leaving if the model does not let its attention be
    replaced.
    """
    before = model.config._attn_implementation
    model.config._attn_implementation = NAME
    _current.append(use := Use(attend))
    try:
        yield use
        if not use.layers:
            raise NotImplementedError(f"{type(model).__name__} does not take attention from outside")
    finally:
        _current.pop()
        model.config._attn_implementation = before


def _attend(
    _module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it; options: those that a model may have, by name."""
    if options.get("s_aux") is not None:
        raise NotImplementedError("attention sinks")
    use = _current[-1]
    use.layers += 1
    return use.attend(query, key, value, attention_mask, options.get("scaling"), options.get("softcap")), None


AttentionInterface.register(NAME, _attend)
