"""What the log probabilities of an item's choices say: which is chosen, by how much, how surely."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def chosen(logprobs: np.ndarray, item: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of a multiple-choice pair, as the harness defines acc and acc_norm."""
    gold = item["gold"]
    lengths = np.array([len(choice) for choice in item["choices"]], dtype=float)
    return {
        "logprobs": logprobs,
        "gold_logprob": logprobs[gold],
        "margin": margin(logprobs, gold),
        "correct": float(logprobs.argmax() == gold),
        "correct_norm": float((logprobs / lengths).argmax() == gold),
        "text": None,
        "scores": None,
    }


def margin(logprobs: np.ndarray, gold: int) -> float | None:
    """Log probability of the right choice minus the best wrong one, in nats; None without a wrong one."""
    wrong = np.delete(logprobs, gold)
    return float(logprobs[gold] - wrong.max()) if len(wrong) else None


def entropy(logprobs: np.ndarray) -> float | None:
    """Entropy in nats of the softmax over the choices' log probabilities; None for a single choice."""
    if len(logprobs) < 2:
        return None
    shifted = logprobs.astype(np.float64) - logprobs.max()
    shares = np.exp(shifted) / np.exp(shifted).sum()
    return float(np.log(np.exp(shifted).sum()) - shares @ shifted)
