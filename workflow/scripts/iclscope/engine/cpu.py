"""A model on a CPU: weights packed once for oneDNN, other products through oneDNN too, and memory that is kept.

PyTorch multiplies float32 matrices with MKL, which leaves processors of other makers at half their speed or less;
oneDNN uses the widest instructions of either and wants its weights in an order of its own. Sums stay in the dtype that
they had, so that results differ by rounding alone.
"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn

PACKED = (torch.float32, torch.bfloat16)  # few processors multiply float16 in oneDNN's order
ROWS = 256  # tokens of a forward pass for which the packed order is chosen; any other number works too
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGE, KEPT = 2**26, 2**30  # bytes


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


def keep_memory() -> None:
    """Let this process keep what it frees, for its next use, where the C library is glibc.

    A forward pass asks for the same megabytes again and again. By default glibc gives them back to the system each
    time, which clears every page before it is written anew: a tenth of the time of scoring in float32. Only what takes
    more than LARGE is still given back, such as the logits of many tokens: what is left of their place once something
    small lies in it is too small for the next ones, and a job would grow by a place of theirs every few passes.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)


@cache
def multiplies_exactly() -> bool:
    """Whether oneDNN multiplies float32 matrices as such when `through_onednn` lets it round them.

    It rounds only for units of matrix products (AMX), as others gain nothing by it; products of one machine show it.
    """
    if not can_pack() or torch.cpu.get_capabilities().get("amx_tile"):
        return False
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.randn(shape, generator=draw) for shape in ((8, 96, 64), (8, 64, 128)))
    with through_onednn():
        found = left @ right
    return bool((found - left.double() @ right.double()).abs().max() < 1e-4)  # 0.05 if they were rounded


@contextmanager
def through_onednn() -> Iterator[None]:
    """While open, PyTorch asks oneDNN for products of float32 matrices, which it does only if these may be rounded."""
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # of a class that stands for the module
    before = products.fp32_precision
    products.fp32_precision = "bf16"
    try:
        yield
    finally:
        products.fp32_precision = before
