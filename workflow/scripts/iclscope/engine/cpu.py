"""Linear maps of a model on a CPU, with weights packed once for oneDNN.

PyTorch multiplies float32 matrices with MKL, which leaves processors of other makers at half their speed or less;
oneDNN uses the widest instructions of either and wants its weights in an order of its own. Sums stay in the dtype that
they had, so that results differ by rounding alone.
"""

import platform
from typing import Any

import torch
from torch import nn

PACKED = (torch.float32, torch.bfloat16)  # few processors multiply float16 in oneDNN's order
ROWS = 256  # tokens of a forward pass for which the packed order is chosen; any other number works too


def can_pack() -> bool:
    """Whether this machine has an x86 processor and a PyTorch with oneDNN."""
    return platform.machine() in ("x86_64", "AMD64") and torch.backends.mkldnn.is_available()


class PackedLinear(nn.Linear):
    """A linear map that multiplies by packed weights; a model that reads `weight` itself is given the plain ones."""

    packed: torch.Tensor
    shared: torch.Tensor | None  # plain weights that the embeddings keep anyway

    @property
    def weight(self) -> torch.Tensor:  # type: ignore[override]
        """The plain weights [outputs, inputs], put together anew where nothing else keeps them."""
        return self.packed.to_dense() if self.shared is None else self.shared

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., inputs] to [..., outputs]; the operation that PyTorch's own compiler uses for frozen weights."""
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")


def pack_for_cpu(model: Any) -> int:
    """Pack the weights of every linear map of `model`, if it runs on such a CPU; returns how many were packed.

    A packed map frees its plain weights, unless the input embeddings share them: memory stays what it was but for a
    head that is tied to the embeddings.
    """
    if model.device.type != "cpu" or model.dtype not in PACKED or not can_pack():
        return 0
    embeddings = model.get_input_embeddings().weight
    maps = [module for module in model.modules() if type(module) is nn.Linear]
    for linear in maps:
        weight = linear.weight
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), ROWS)
        del linear.weight
        linear.__class__ = PackedLinear
        assert isinstance(linear, PackedLinear)
        linear.packed, linear.shared = packed, weight if weight is embeddings else None
    return len(maps)
