"""Linear maps of a model on a CPU, with weights packed once for oneDNN.

PyTorch multiplies float32 matrices with MKL, which leaves processors of other makers at half their speed or less;
oneDNN uses the widest instructions of either and wants its weights in an order of its own. Sums stay in the dtype that
they had, so that results differ by rounding alone.
"""

import platform
from functools import partial
from typing import Any

import torch
from torch import nn

ROWS = 256  # tokens of a forward pass for which the packed order is chosen; any other number works too


def can_pack() -> bool:
    """Whether this machine has an x86 processor and a PyTorch with oneDNN."""
    return platform.machine() in ("x86_64", "AMD64") and torch.backends.mkldnn.is_available()


def pack_for_cpu(model: Any) -> int:
    """Pack the weights of every linear map of `model`, if it runs on such a CPU; returns how many were packed.

    A packed map frees its plain weights, unless the input embeddings share them: memory stays what it was but for a
    head that is tied to the embeddings.
    """
    if model.device.type != "cpu" or not can_pack():
        return 0
    embeddings = model.get_input_embeddings().weight
    maps = [module for module in model.modules() if type(module) is nn.Linear]
    for linear in maps:
        weight = linear.weight.detach()
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), ROWS)
        linear.forward = partial(_multiply, packed, linear.bias)  # type: ignore[method-assign]
        if linear.weight is not embeddings:
            linear.weight.data = weight.new_empty(0)
    return len(maps)


def _multiply(packed: torch.Tensor, bias: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    """x [..., inputs] to [..., outputs]; the operation that PyTorch's own compiler uses for frozen weights."""
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
