"""Where activations are read inside a model: blocks and their parts, found by structure rather than by name.

mlp_act   input of the MLP's down projection: one number per hidden neuron of the MLP
mlp_out   output of the MLP module, before any norm that follows it
resid     output of the block: the residual stream
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers.pytorch_utils import Conv1D

from iclscope.runtime.errors import StudyError

Receiver = Callable[[torch.Tensor], None]


@dataclass(frozen=True)
class Block:
    """A transformer block, its MLP, and the MLP's last linear map, which leads back to the residual stream."""

    block: nn.Module
    mlp: nn.Module
    down_projection: nn.Module

    def width(self, site: str) -> int:
        """Number of neurons at a site."""
        inside, hidden = _shape(self.down_projection)
        return inside if site == "mlp_act" else hidden


def find_blocks(model: Any) -> list[Block]:
    """The blocks of a decoder-only language model, first to last.

    They are the longest `ModuleList` whose members each have an attention and one other part with linear maps, the
    MLP. Refuses a model without such blocks, and MLPs that do not end in a map back to the hidden size (experts).
    """
    decoder = model.get_decoder()
    lists = [module for module in decoder.modules() if isinstance(module, nn.ModuleList) and len(module)]
    candidates = [blocks for blocks in lists if all(any(map(_is_attention, block.children())) for block in blocks)]
    if not candidates:
        raise StudyError(
            f"models: {type(decoder).__name__} cannot be read: looked for a ModuleList whose blocks each have a child "
            f"module named …Attention, found {_names(type(m[0]).__name__ for m in lists) or 'no ModuleList'}; "
            "choose a decoder-only transformer"
        )
    hidden = model.config.get_text_config().hidden_size
    return [_parts(block, hidden) for block in max(candidates, key=len)]


def _is_attention(part: nn.Module) -> bool:
    return "attention" in type(part).__name__.lower()


def _parts(block: nn.Module, hidden: int) -> Block:
    name = type(block).__name__
    others = [part for part in block.children() if not _is_attention(part) and _linear_maps(part)]
    if len(others) != 1 or isinstance(others[0], (nn.Linear, Conv1D)):
        raise StudyError(
            f"models: {name} cannot be read: looked for one MLP module beside its attention, "
            f"found {_names(type(part).__name__ for part in others) or 'none'}"
        )
    down = _linear_maps(others[0])[-1]
    if _shape(down)[1] != hidden:
        raise StudyError(
            f"models: {name} cannot be read: looked for the down projection as the last linear map of "
            f"{type(others[0]).__name__}, but that has {_shape(down)[1]} outputs instead of the hidden size {hidden}"
        )
    return Block(block, others[0], down)


def _names(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _linear_maps(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, (nn.Linear, Conv1D))]


def _shape(linear: nn.Module) -> tuple[int, int]:
    """Inputs and outputs of a linear map; `Conv1D` of GPT-2 stores its weight transposed."""
    if isinstance(linear, Conv1D):
        return linear.nx, linear.nf
    assert isinstance(linear, nn.Linear)
    return linear.in_features, linear.out_features


def _on_output(module: nn.Module, receive: Receiver) -> RemovableHandle:
    def hook(_: nn.Module, __: Any, output: Any) -> None:
        receive(output[0] if isinstance(output, tuple) else output)

    return module.register_forward_hook(hook)


def _on_input(module: nn.Module, receive: Receiver) -> RemovableHandle:
    def hook(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        receive(arguments[0])

    return module.register_forward_pre_hook(hook)


def _mlp_out(block: Block, receive: Receiver) -> RemovableHandle:
    return _on_output(block.mlp, receive)


def _mlp_act(block: Block, receive: Receiver) -> RemovableHandle:
    return _on_input(block.down_projection, receive)


def _resid(block: Block, receive: Receiver) -> RemovableHandle:
    return _on_output(block.block, receive)


SITES: dict[str, Callable[[Block, Receiver], RemovableHandle]] = {
    "mlp_out": _mlp_out,
    "mlp_act": _mlp_act,
    "resid": _resid,
}


def check_sites(sites: Sequence[str]) -> None:
    """Refuse a site that does not exist."""
    for site in sites:
        if site not in SITES:
            raise StudyError(f"activations.sites: {site!r} is unknown; choose from {', '.join(SITES)}")


@contextmanager
def reading(
    blocks: Sequence[Block], sites: Sequence[str], receive: Callable[[str, int, torch.Tensor], None]
) -> Iterator[None]:
    """Call `receive(site, layer, activation [batch, tokens, d])` whenever the model passes a site, inside the block.

    The hooks are removed however the block ends.
    """
    handles: list[RemovableHandle] = []
    try:
        for layer, block in enumerate(blocks):
            for site in sites:
                handles.append(SITES[site](block, partial(receive, site, layer)))
        yield
    finally:
        for handle in handles:
            handle.remove()
