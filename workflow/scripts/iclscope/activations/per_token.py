"""An activation [rows, tokens, d] reduced to a few numbers per token, on the device where it was made.

Everything is computed in float32, moments around the mean (two passes), which is safe while 1e-9 < |x| < 1e9.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

TOP = ("top_value", "top_token", "top_neuron")
VECTORS = ("mean_vector", "last_vector")

MASSIVE_FLOOR = 100.0  # Sun et al. 2024, "Massive Activations in Large Language Models"
MASSIVE_RATIO = 1000.0
CONSTANT = 1e-6  # standard deviation over |mean| below which float32 cannot tell a vector from a constant
CPU_CHUNK = 2**18  # elements that are reduced together on a CPU: 1 MB, about the size of a core's cache


def summarise(x: torch.Tensor, lengths: torch.Tensor, top_k: int) -> dict[str, torch.Tensor]:
    """Statistics of `x` [rows, tokens, d], of whose tokens the first `lengths` [rows] count and the rest are padding.

    Returns the columns of the activations table: PER_TOKEN [rows, tokens] with meaningless values at padding,
    TOP [rows, k] and VECTORS [rows, d] (float32).
    """
    rows = max(1, CPU_CHUNK // x[0].numel()) if x.device.type == "cpu" else len(x)
    parts = [
        _summarise(chunk.float(), counts, top_k)
        for chunk, counts in zip(x.split(rows), lengths.to(x.device).split(rows), strict=True)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _summarise(x: torch.Tensor, lengths: torch.Tensor, top_k: int) -> dict[str, torch.Tensor]:
    magnitude = x.abs()
    total = magnitude.sum(dim=-1)
    ordered = _by_numpy(magnitude, np.sort, lambda values: values.sort(dim=-1).values)
    largest = ordered[..., -top_k:].flip(-1)
    return {
        **_moments(x),
        "mean_abs": total / x.shape[-1],
        "median_abs": ordered[..., _middle(x.shape[-1])],
        "max_abs": largest[..., 0],
        "max_abs_neuron": _by_numpy(
            magnitude, lambda values: values.argmax(-1), lambda values: values.argmax(-1)
        ).int(),
        "entropy_abs": _entropy(magnitude, total),
        "top_share": largest.sum(dim=-1) / total,
        "massive": _massive(magnitude, largest[..., 0], lengths),
        **_top(x, largest, lengths),
        **_vectors(x, lengths),
    }


def _by_numpy(
    values: torch.Tensor,
    numpy_function: Callable[[np.ndarray], np.ndarray],
    torch_function: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """On a CPU numpy sorts, finds the largest and takes logarithms 3 to 30 times as fast as torch (SIMD)."""
    if values.device.type == "cpu":
        return torch.from_numpy(numpy_function(values.numpy()))
    return torch_function(values)


def _middle(count: int) -> int:
    """Place of the lower median among `count` ordered values: of two middle ones the smaller, as in `torch.median`."""
    return (count - 1) // 2


def _median(values: torch.Tensor) -> torch.Tensor:
    """Lower median of values [n]."""
    middle = _middle(len(values))
    return _by_numpy(values, lambda array: np.partition(array, middle)[middle, None], torch.median)


def _moments(x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Moments over neurons as `scipy.stats` defines them (bias=True, excess kurtosis, NaN where constant)."""
    width = x.shape[-1]
    mean = x.mean(dim=-1)
    centred = x - mean[..., None]
    squared = centred * centred
    variance = squared.mean(dim=-1)
    third = centred.mul_(squared).mean(dim=-1)
    fourth = torch.linalg.vector_norm(squared, dim=-1).square() / width
    divisor = variance.masked_fill(variance <= (CONSTANT * mean).square(), torch.nan)
    return {
        "mean": mean,
        "variance": variance,
        "skewness": third / divisor**1.5,
        "kurtosis": fourth / divisor.square() - 3,
    }


def _massive(magnitude: torch.Tensor, largest: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Massive activations per token [rows, tokens]: |x| > 100 and |x| > 1000 times the median |x| (Sun et al. 2024).

    The median is over all tokens and neurons of the demonstration at this layer and site, the "hidden state" of the
    paper. It is taken only where some |x| exceeds 100.
    """
    counts = torch.zeros(largest.shape, dtype=torch.int32, device=magnitude.device)
    for row, length in _rows_above(largest, lengths):
        own = magnitude[row, :length]
        threshold = (MASSIVE_RATIO * _median(own.flatten())).clamp_min(MASSIVE_FLOOR)
        counts[row, :length] = (own > threshold).sum(dim=-1, dtype=torch.int32)
    return counts


def _rows_above(largest: torch.Tensor, lengths: torch.Tensor) -> Iterator[tuple[int, int]]:
    """Rows whose own tokens exceed the floor, with their number of tokens."""
    above = (largest.masked_fill(_padding(largest, lengths), 0) > MASSIVE_FLOOR).any(dim=1).nonzero()[:, 0]
    yield from zip(above.tolist(), lengths[above].tolist(), strict=True)


def _top(x: torch.Tensor, largest: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
    """The k largest |x| of each row over all tokens: [rows, k], from the k largest of each token [rows, tokens, k].

    Only in the tokens that hold one of them are neurons looked for.
    """
    k = largest.shape[-1]
    own = largest.masked_fill(_padding(largest[..., 0], lengths)[..., None], -1).flatten(1)
    best = own.topk(k, dim=1).indices
    token, rank = best // k, best % k
    activation = x[torch.arange(len(x), device=x.device)[:, None], token]  # [rows, k, d]
    neuron = activation.abs().topk(k, dim=-1).indices.gather(2, rank[..., None])
    value = activation.gather(2, neuron)
    return {"top_value": value[..., 0], "top_token": token.int(), "top_neuron": neuron[..., 0].int()}


def _vectors(x: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
    """The activation averaged over tokens, and that of the last token: [rows, d]."""
    weights = (~_padding(x[..., 0], lengths)).float() / lengths[:, None]
    return {
        "mean_vector": torch.bmm(weights[:, None], x)[:, 0],
        "last_vector": x[torch.arange(len(x), device=x.device), lengths - 1],
    }


def _entropy(magnitude: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """Entropy of p = |x| / sum |x| over neurons: log(total) - sum |x| log |x| / total, with 0 log 0 = 0."""
    logarithm = _by_numpy(magnitude.clamp_min(torch.finfo(torch.float32).tiny), np.log, torch.log)
    return total.log() - logarithm.mul_(magnitude).sum(dim=-1) / total


def _padding(per_token: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Which places of [rows, tokens] are padding."""
    return torch.arange(per_token.shape[1], device=per_token.device) >= lengths[:, None]
