"""What may be read off a model, proved on a short row before anything is read.

Every block reads an input that is given to it, so that each is tested by itself: what of its output changes with the
input at one position is what its tokens see, and what changes with the MLP's output is what the MLP adds.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from iclscope.activations.masks import MaskFunction, Segments, named
from iclscope.activations.sites import NORM, Block, block_input, decoder_of, find_blocks, first_output, reading
from iclscope.engine import models
from iclscope.engine.attention.inputs import attention_input
from iclscope.engine.rotary import forget
from iclscope.runtime.errors import StudyError

logger = logging.getLogger(__name__)

ROW = Segments(5, question=(1, 3), answer=(3, 5))  # shorter than any window or chunk
OWN = "causal"  # the one mask that a model applies by itself
ROUNDING = {torch.float32: 1e-4}  # share of a vector's largest number
COARSE = 0.05
MORE_ROUNDING = 10  # times as much in long texts
UNLIKE = {torch.float32: 1e-2}  # share of what the MLP adds that may be something else
COARSELY_UNLIKE = 0.25

Change = Callable[[int, torch.Tensor], torch.Tensor]


def check_readable(folder: Path, name: str, *, masks: Sequence[str], sites: Sequence[str], dtype: str) -> None:
    """Refuse the prepared model `name` in `folder` if it cannot be read under these masks and at these sites."""
    model, _ = models.load(folder, dtype, "cpu")
    model.name_or_path = name
    blocks = find_blocks(model)
    check_parts(model, blocks, sites)
    readable_masks(model, blocks, masks)


def readable_masks(
    model: Any, blocks: Sequence[Block], names: Sequence[str], longest: int = ROW.tokens
) -> dict[str, MaskFunction | None]:
    """The function of each mask; None where the model reads under its own causal attention because it takes no masks.

    longest: tokens of the longest text, in which a window or chunk shows that a shorter one has not. Refuses masks that
    the model does not follow, and all but `causal` for a model that takes none.
    """
    functions = {name: named(name) for name in names}
    if reason := _takes_none(model, longest):
        if others := [name for name in names if name != OWN]:
            raise StudyError(
                f"masks: {_name(model)} can be read under {OWN} alone ({reason}); remove {', '.join(others)} from "
                "masks, or the model from models"
            )
        logger.info("%s is read under its own causal attention (%s)", type(model).__name__, reason)
        return dict.fromkeys(names)
    if wrong := _not_followed(model, blocks, functions):
        raise StudyError(
            f"masks: {_name(model)} does not follow {', '.join(wrong)}, whatever it is told of what a token may see; "
            "remove that from masks, or the model from models"
        )
    return {**functions}


def causal_mask(model: Any, longest: int = ROW.tokens) -> MaskFunction | None:
    """The mask `causal` for a model that takes masks; None, its own causal attention, for one that does not.

    longest: as for `readable_masks`.
    """
    return None if _takes_none(model, longest) else named(OWN)


def check_parts(model: Any, blocks: Sequence[Block], sites: Sequence[str]) -> None:
    """Refuse a model that has none of the sites, or whose sites are not what their names say."""
    reasons = [block.undefined.get(site) for block in blocks for site in sites]
    if all(reasons):
        raise StudyError(
            f"activations.sites: {_name(model)} has none of {', '.join(sites)} ({reasons[0]}); add resid to "
            "activations.sites, or remove the model from models"
        )
    try:
        wrong = _wrong_parts(model, blocks, sites)
    except Exception as error:  # a model may raise anything where it is run as it was not meant to be
        wrong = [f"its blocks fail with {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"]
    if wrong:
        raise StudyError(
            f"activations.sites: {_name(model)} cannot be read: {wrong[0]}; remove it from models, or the site from "
            "activations.sites"
        )


def _wrong_parts(model: Any, blocks: Sequence[Block], sites: Sequence[str]) -> list[str]:
    """What is not what its name says.

    With norms passed over, a block's output must be the residual stream and a multiple of `mlp_out`. Noise is put into
    its place, and then nothing: what the block gives must differ by that noise, and not vanish without it, as it would
    if `mlp_out` were the residual stream itself.
    """
    given: dict[int, torch.Tensor] = {}
    generator = torch.Generator().manual_seed(0)
    noise = {
        part: torch.randn(ROW.tokens, block.hidden, generator=generator) for block in blocks for part in block.adds
    }
    wrong: list[str] = []
    names = [f"block {layer} ({type(block.block).__name__})" for layer, block in enumerate(blocks)]

    def check_shape(site: str, layer: int, x: torch.Tensor) -> None:
        if x.shape != (1, ROW.tokens, blocks[layer].width(site)):
            wrong.append(f"what {names[layer]} has at {site} is no vector of each token")

    with _without_norms(blocks), _giving(noise), reading(blocks, sites, check_shape):
        whole = _outputs(model, blocks, lambda layer, x: given.setdefault(layer, _unit(x)))
    with _without_norms(blocks), _giving({part: torch.zeros_like(x) for part, x in noise.items()}):
        rest = _outputs(model, blocks, lambda layer, _: given[layer])
    if not wrong and "mlp_out" in sites:
        for layer, block in enumerate(blocks):
            added = [noise[part] for part in block.adds]
            if added and not _adds(model, torch.stack(added).sum(dim=0), whole[layer].cpu(), rest[layer].cpu()):
                wrong.append(f"mlp_out is not what the MLP of {names[layer]} adds to the residual stream")
    return wrong


def _adds(model: Any, added: torch.Tensor, whole: torch.Tensor, rest: torch.Tensor) -> bool:
    """Whether a block's output is a multiple of `added` more than `rest`, which is more than nothing."""
    limit, change = UNLIKE.get(model.dtype, COARSELY_UNLIKE), whole - rest
    other = change - (change * added).sum() / added.square().sum() * added
    return bool(other.norm() <= limit * change.norm() and rest.norm() > limit * whole.norm())


def _name(model: Any) -> str:
    return f"models.{Path(model.name_or_path).name} ({type(model).__name__})"


def _tokens(model: Any, row: Segments, rows: int) -> torch.Tensor:
    """Tokens of a row, the same in each of `rows`: int64 [rows, tokens]."""
    ids = torch.arange(3, 3 + row.tokens, device=model.device) * 7 % model.config.get_text_config().vocab_size
    return ids.expand(rows, -1)


def _masked(model: Any, row: Segments, functions: Sequence[MaskFunction]) -> dict[str, Any]:
    """Arguments of a forward pass with a row under each of the masks."""
    allowed = torch.from_numpy(np.stack([function(row) for function in functions])).to(model.device)
    positions = torch.arange(row.tokens, device=model.device).expand(len(functions), -1)
    return {
        "input_ids": _tokens(model, row, len(functions)),
        "attention_mask": attention_input(model, allowed, positions, positions),
        "position_ids": positions,
        "use_cache": False,
    }


def _takes_none(model: Any, longest: int) -> str:
    """Why a model does not take masks; empty if it gives with an explicit causal one what it gives by itself."""
    decoder, row = decoder_of(model), replace(ROW, tokens=max(ROW.tokens, longest))
    forget(model)
    with torch.inference_mode():
        wanted = decoder(input_ids=_tokens(model, row, 1), use_cache=False).last_hidden_state
        try:
            found = decoder(**_masked(model, row, [named(OWN)])).last_hidden_state
        except Exception as error:  # a model may raise anything where it is run as it was not meant to be
            reason = next(iter(str(error).splitlines()), "")
            return f"with an explicit mask it fails with {type(error).__name__}: {reason}"
    differs = _differs(model, found, wanted, MORE_ROUNDING if row.tokens > ROW.tokens else 1)
    return "with an explicit mask it gives something else" if differs.any() else ""


def _not_followed(model: Any, blocks: Sequence[Block], functions: Mapping[str, MaskFunction]) -> list[str]:
    """Masks under which a token of some block sees what it must not, or does not see what it may."""
    inputs = _masked(model, ROW, list(functions.values()))
    allowed = np.stack([function(ROW) for function in functions.values()])
    before: dict[int, torch.Tensor] = {}
    plain = _outputs(model, blocks, lambda layer, x: before.setdefault(layer, x.clone()), inputs)
    follows = np.ones(len(functions), dtype=bool)
    for place in range(ROW.tokens):

        def changed(layer: int, _: torch.Tensor, place: int = place) -> torch.Tensor:
            x = before[layer].clone()
            x[:, place] = x[:, place].roll(1, dims=-1)
            return x

        for layer, output in _outputs(model, blocks, changed, inputs).items():
            may_see = allowed[:, :, place]
            sees = (output != plain[layer]).any(dim=-1).cpu().numpy()
            surely_sees = _differs(model, output, plain[layer]).cpu().numpy()
            follows &= ~(surely_sees & ~may_see).any(axis=1) & (sees | ~may_see).all(axis=1)
    return [name for name, good in zip(functions, follows, strict=True) if not good]


def _differs(model: Any, found: torch.Tensor, wanted: torch.Tensor, times: float = 1) -> torch.Tensor:
    """Where vectors [..., d] differ by more than rounding, or than several `times` of it: bool [...]."""
    limit = times * ROUNDING.get(model.dtype, COARSE)
    return (found - wanted).abs().amax(dim=-1) > limit * wanted.abs().amax(dim=-1)


def _outputs(
    model: Any, blocks: Sequence[Block], change: Change, inputs: Mapping[str, Any] | None = None
) -> dict[int, torch.Tensor]:
    """The output [rows, tokens, d] of every block where each reads `change(layer, its input)`, in float32.

    inputs: of the model; the row alone, without a mask, if there are none.
    """
    found: dict[int, torch.Tensor] = {}
    handles = []

    def give(layer: int, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        x = change(layer, block_input(arguments, named))
        return ((x, *arguments[1:]), named) if arguments else (arguments, {**named, "hidden_states": x})

    def keep(layer: int, output: Any) -> None:
        found[layer] = first_output(output).float()

    for layer, block in enumerate(blocks):
        handles += [
            block.block.register_forward_pre_hook(lambda _, a, n, layer=layer: give(layer, a, n), with_kwargs=True),
            block.block.register_forward_hook(lambda _, __, output, layer=layer: keep(layer, output)),
        ]
    try:
        with torch.inference_mode():
            decoder_of(model)(**(inputs or {"input_ids": _tokens(model, ROW, 1), "use_cache": False}))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _unit(x: torch.Tensor) -> torch.Tensor:
    """Vectors of mean square 1, as norms would make them."""
    return x / x.float().square().mean(dim=-1, keepdim=True).sqrt().clamp_min(1e-6).to(x.dtype)


@contextmanager
def _without_norms(blocks: Sequence[Block]) -> Iterator[None]:
    """Let the norms that stand in a block itself, not in its parts, pass on what they read."""
    parts = [(name, part) for one in blocks for name, part in one.block.named_children()]
    norms = [part for name, part in parts if NORM.search(name) or NORM.search(type(part).__name__)]
    yield from _hooked(norms, lambda _, arguments, __: arguments[0])


@contextmanager
def _giving(outputs: Mapping[nn.Module, torch.Tensor]) -> Iterator[None]:
    """Let modules give these outputs [tokens, d] in the place of their own."""

    def put(part: nn.Module, _: Any, output: Any) -> Any:
        old = first_output(output)
        new = outputs[part].to(old, copy=True).reshape(old.shape)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    yield from _hooked(list(outputs), put)


def _hooked(modules: Sequence[nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
