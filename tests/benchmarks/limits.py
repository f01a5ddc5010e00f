"""What this machine could do: the rate of matrix products of a model's own shapes, and what a task needs of them."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from iclscope.activations.sites import find_blocks
from iclscope.engine.prompts import Prompt
from iclscope.plan import workload
from record import seconds

Shape = tuple[int, int]


def shapes_of(model: Any) -> tuple[Counter[Shape], Shape]:
    """How often each shape (inputs, outputs) of linear map stands in the blocks, and the shape of the head."""
    maps = [part for block in find_blocks(model) for part in block.block.modules() if isinstance(part, nn.Linear)]
    head = model.get_output_embeddings()
    return Counter((part.in_features, part.out_features) for part in maps), (head.in_features, head.out_features)


def product_rates(model: Any, rows: int) -> dict[Shape, float]:
    """FLOPs a second of a product of `rows` tokens with each shape, by the faster of PyTorch's own and oneDNN's."""
    blocks, head = shapes_of(model)
    return {shape: max(_rate(model, shape, rows, packed) for packed in (False, True)) for shape in (*blocks, head)}


def limit_seconds(model: Any, groups: Sequence[Sequence[Prompt]], rows: int) -> float:
    """Seconds that nothing but the matrix products of scoring would take: every token once, the head once a place."""
    blocks, head = shapes_of(model)
    rates = product_rates(model, rows)
    work = sum(map(workload.packed, groups), workload.NOTHING)
    linear = sum(2 * a * b * times / rates[a, b] for (a, b), times in blocks.items())
    return work.tokens * linear + work.predictions * 2 * head[0] * head[1] / rates[head]


def decoding_limit(model: Any, rows: int) -> float:
    """New tokens a second that nothing but the matrix products of decoding `rows` answers at a time would allow."""
    blocks, head = shapes_of(model)
    rates = product_rates(model, rows)
    return 1 / sum(2 * a * b * times / rates[a, b] for (a, b), times in [*blocks.items(), (head, 1)])


def _rate(model: Any, shape: Shape, rows: int, packed: bool) -> float:
    x = torch.randn(rows, shape[0], dtype=model.dtype, device=model.device)
    weight = torch.randn(shape[1], shape[0], dtype=model.dtype, device=model.device)
    product = partial(nn.functional.linear, x, weight)
    if packed:
        if model.device.type != "cpu":
            return 0.0
        order = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        product = partial(torch.ops.mkldnn._linear_pointwise, x, order, None, "none", [], "")
    flops = 2 * rows * shape[0] * shape[1]
    times = max(1, int((4e9 if model.device.type == "cpu" else 4e12) / flops))

    def run() -> None:
        for _ in range(times):
            product()
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)

    run()
    return times * flops / seconds(run, rounds=5)
