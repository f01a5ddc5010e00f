"""Where activations are read inside a model: blocks and their parts, found by structure rather than by name.

mlp_act   input of the MLP's down projection: one number per hidden neuron of the MLP
mlp_out   what the MLP, or a mixture of experts, adds to the residual stream, before any norm that follows it
resid     output of the block: the residual stream
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from iclscope.runtime.errors import StudyError

Receiver = Callable[[torch.Tensor], None]

# Names of parts, by which those that mix tokens are told from those that work on each token alone.
MIXES = re.compile(r"att(n|ention)?(_|$)|attention|conv|mamba|ssm|temporal|delta|recurrent", re.IGNORECASE)
WORKS_ALONE = re.compile(r"mlp|ffn|feed_?forward|moe|expert|^fc\d$", re.IGNORECASE)
NORM = re.compile(r"norm|^ln", re.IGNORECASE)

NO_MLP = "the block has no MLP"
DENSE = 3  # linear maps of the largest MLP: gate, up and down
EXPERTS = "a mixture of experts has no neurons that all tokens share"


@dataclass(frozen=True)
class Block:
    """A transformer block and its parts.

    adds: the modules whose outputs together are `mlp_out`, none where the block has no MLP. down_projection: the MLP's
    last linear map, which leads back to the residual stream. undefined: site → why the block does not have it.
    """

    block: nn.Module
    hidden: int
    adds: tuple[nn.Module, ...] = ()
    down_projection: nn.Module | None = None
    undefined: dict[str, str] = field(default_factory=dict)

    def width(self, site: str) -> int:
        """Number of neurons at a site, 0 where the block does not have it."""
        if site in self.undefined:
            return 0
        return _shape(self.down_projection)[0] if site == "mlp_act" and self.down_projection else self.hidden


def find_blocks(model: Any) -> list[Block]:
    """The blocks of a decoder-only language model, first to last.

    They are the first `ModuleList` with as many members as the config has layers. Refuses a model without such a list,
    and blocks of which a part with weights is neither an MLP nor one that mixes tokens.
    """
    decoder, config = decoder_of(model), model.config.get_text_config()
    lists = [module for module in decoder.modules() if isinstance(module, nn.ModuleList) and len(module)]
    blocks = next((found for found in lists if len(found) == config.num_hidden_layers), None)
    if blocks is None or not any(map(_has_mixer, blocks)):
        raise StudyError(
            f"models: {type(decoder).__name__} cannot be read: looked for a ModuleList of {config.num_hidden_layers} "
            f"blocks, one per layer of its config, with attention in them, found "
            f"{_names(f'{len(m)} {type(m[0]).__name__}' for m in lists) or 'none'}; choose a decoder-only transformer"
        )
    return [_parts(block, config.hidden_size) for block in blocks]


def decoder_of(model: Any) -> Any:
    """The part of a language model that gives hidden states."""
    decoder = model.get_decoder()
    inner = [part for part in model.children() if isinstance(part, PreTrainedModel)]
    return inner[0] if decoder is model and inner else decoder


def _has_mixer(block: nn.Module) -> bool:
    return any(_has_weights(part) and _mixes(name, part) for name, part in block.named_children())


def _has_weights(part: nn.Module) -> bool:
    """Whether it has matrices, as all that is more than a norm does."""
    return bool(_linear_maps(part)) or _has_other_matrices(part)


def _has_other_matrices(part: nn.Module) -> bool:
    """Whether it has matrices that are not those of linear maps, as experts have."""
    others = [module for module in part.modules() if not isinstance(module, (nn.Linear, Conv1D))]
    matrices = [weights for module in others for weights in module.parameters(recurse=False)]
    return any(sum(size > 1 for size in weights.shape) > 1 for weights in matrices)


def _mixes(name: str, part: nn.Module) -> bool:
    """Whether a part of a block mixes tokens: its name in the block decides, or that of its class."""
    if WORKS_ALONE.search(name):
        return False
    return bool(MIXES.search(name)) or not WORKS_ALONE.search(type(part).__name__)


def _parts(block: nn.Module, hidden: int) -> Block:
    parts = {name: part for name, part in block.named_children() if _has_weights(part)}
    alone = [part for name, part in parts.items() if not _mixes(name, part)]
    rest = [
        part for name, part in parts.items() if _mixes(name, part) and not MIXES.search(f"{name} {type(part).__name__}")
    ]
    if other := [part for part in rest if "mixer" not in type(part).__name__.lower()]:
        raise StudyError(
            f"models: {type(block).__name__} cannot be read: looked for one MLP or mixture of experts beside its "
            f"attention, found {_names(type(part).__name__ for part in other)}; choose another model"
        )
    if not alone:
        return Block(block, hidden, undefined={"mlp_out": NO_MLP, "mlp_act": NO_MLP})
    down = _down_projection(alone, hidden)
    if all(isinstance(part, (nn.Linear, Conv1D)) for part in alone):  # of the block's own, of which the last one adds
        alone = alone[-1:]
    elif down is not None and "residual" in inspect.signature(alone[0].forward).parameters:  # which it adds itself
        alone = [down]
    return Block(block, hidden, tuple(alone), down, {} if down is not None else {"mlp_act": EXPERTS})


def _down_projection(parts: Sequence[nn.Module], hidden: int) -> nn.Module | None:
    """The last linear map of a dense MLP, given as one module or as its maps; None for a mixture of experts."""
    maps = [linear for part in parts for linear in _linear_maps(part)]
    if not 0 < len(maps) <= DENSE or _shape(maps[-1])[1] != hidden or any(map(_has_other_matrices, parts)):
        return None
    return maps[-1]


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


def first_output(output: Any) -> torch.Tensor:
    """What a part of a block gives, apart from attention weights and states."""
    return output[0] if isinstance(output, (tuple, list)) else output


def _mlp_out(block: Block, receive: Receiver) -> list[RemovableHandle]:
    waiting: list[torch.Tensor] = []

    def hook(_: nn.Module, __: Any, output: Any) -> None:
        waiting.append(first_output(output))
        if len(waiting) == len(block.adds):
            receive(torch.stack(waiting).sum(dim=0) if len(waiting) > 1 else waiting[0])
            waiting.clear()

    return [part.register_forward_hook(hook) for part in block.adds]


def _mlp_act(block: Block, receive: Receiver) -> list[RemovableHandle]:
    assert block.down_projection is not None
    return [block.down_projection.register_forward_pre_hook(lambda _, arguments: receive(arguments[0]))]


def _resid(block: Block, receive: Receiver) -> list[RemovableHandle]:
    return [block.block.register_forward_hook(lambda _, __, output: receive(first_output(output)))]


SITES: dict[str, Callable[[Block, Receiver], list[RemovableHandle]]] = {
    "mlp_out": _mlp_out,
    "mlp_act": _mlp_act,
    "resid": _resid,
}


def check_sites(sites: Sequence[str]) -> None:
    """Refuse a site that does not exist."""
    for site in sites:
        if site not in SITES:
            raise StudyError(f"activations.sites: {site!r} is unknown; choose from {', '.join(SITES)}")


def _shape_of_input(block: Block, handles: list[RemovableHandle]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function that gives an activation the batch and tokens of what the block reads, by a hook on it.

    Experts, and an MLP of the block's own linear maps, may read the tokens of all rows as one sequence.
    """
    shape: list[int] = []

    def note(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        shape[:] = block_input(arguments, named).shape[:2]

    handles.append(block.block.register_forward_pre_hook(note, with_kwargs=True))
    return lambda x: x.reshape(*shape, x.shape[-1])


def block_input(arguments: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor:
    """The residual stream among the arguments of a block."""
    return arguments[0] if arguments else named["hidden_states"]


def _pass_on(
    receive: Callable[[str, int, torch.Tensor], None],
    site: str,
    layer: int,
    unflatten: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
) -> None:
    receive(site, layer, unflatten(x))


@contextmanager
def reading(
    blocks: Sequence[Block], sites: Sequence[str], receive: Callable[[str, int, torch.Tensor], None]
) -> Iterator[None]:
    """Call `receive(site, layer, activation [batch, tokens, d])` whenever the model passes a site that a block has.

    The hooks are removed however the block ends.
    """
    handles: list[RemovableHandle] = []
    try:
        for layer, block in enumerate(blocks):
            unflatten = _shape_of_input(block, handles)
            for site in sites:
                if site not in block.undefined:
                    handles += SITES[site](block, partial(_pass_on, receive, site, layer, unflatten))
        yield
    finally:
        for handle in handles:
            handle.remove()
