"""How the report writes numbers and names: two or three digits, a real minus sign, and `undefined` where it belongs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

UNDEFINED = "undefined"

TARGETS = {
    "accuracy": "accuracy",
    "accuracy_norm": "normalised accuracy",
    "gold_logprob": "gold log probability",
    "margin": "margin",
    "gain": "gain over zero-shot",
    "accuracy_balanced": "balanced accuracy",
    "gold_logprob_balanced": "balanced gold log probability",
    "margin_balanced": "balanced margin",
    "accuracy_calibrated": "calibrated accuracy",
    "gold_logprob_calibrated": "calibrated gold log probability",
    "margin_calibrated": "calibrated margin",
}
TARGET_UNITS = {
    "accuracy": "share of items",
    "accuracy_norm": "share of items",
    "gold_logprob": "nats",
    "margin": "nats",
    "gain": "nats",
    "accuracy_balanced": "share of items",
    "gold_logprob_balanced": "nats",
    "margin_balanced": "nats",
    "accuracy_calibrated": "share of items",
    "gold_logprob_calibrated": "nats",
    "margin_calibrated": "nats",
}


def target_name(target: str) -> str:
    """A quality target in words."""
    return TARGETS.get(target, target)


def two_decimals(value: float | None) -> str:
    """A number with two decimals, as correlations are written."""
    return _decimals(value, 2)


def quantity(value: float | None, signed: bool = False) -> str:
    """A number with three significant digits and at most three decimals."""
    if not _defined(value):
        return UNDEFINED
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return _decimals(value, max(0, min(3, 3 - whole)), signed)


def p_value(value: float | None) -> str:
    """A p value: two decimals, three below 0.1, `< 0.001` below that."""
    if not _defined(value):
        return UNDEFINED
    if value < 0.001:
        return "< 0.001"
    return f"{value:.3f}" if value < 0.0995 else f"{value:.2f}"


def p_phrase(value: float | None, subject: str = "p") -> str:
    """A p value in running text: `p = 0.03`, `p < 0.001`."""
    text = p_value(value)
    return f"{subject} {text}" if text.startswith("<") else f"{subject} = {text}"


def percent(chance: float) -> str:
    """A probability as a whole number of per cent; never 0 or 100 %, which nothing shows."""
    whole = round(100 * chance)
    return "less than 1 %" if whole < 1 else "more than 99 %" if whole > 99 else f"{whole} %"


def count(value: int | None) -> str:
    """A whole number with thousands separated."""
    return UNDEFINED if value is None else f"{value:,}"


def interval(low: float | None, high: float | None, signed: bool = False) -> str:
    """An interval, three significant digits at most."""
    if not (_defined(low) and _defined(high)):
        return UNDEFINED
    return f"{quantity(low, signed)} to {quantity(high, signed)}"


def correlation_interval(low: float | None, high: float | None) -> str:
    """An interval of a correlation."""
    if not (_defined(low) and _defined(high)):
        return UNDEFINED
    return f"{two_decimals(low)} to {two_decimals(high)}"


def signal_name(row: Mapping[str, Any]) -> str:
    """An activation signal in words, from a row of the correlation table."""
    return f"{row['metric']} of {row['site']}, layer {row['layer']}, mask {row['mask']}, pooling {row['pooling']}"


def unbroken(text: str) -> str:
    """The text with no line break inside `ρ = 0.31`, `p < 0.001` or `95 %`."""
    for sign in ("=", "<", "≥"):
        text = text.replace(f" {sign} ", f"\N{NO-BREAK SPACE}{sign}\N{NO-BREAK SPACE}")
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def enumeration(words: Sequence[str]) -> str:
    """Words joined by commas and a final `and`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def plural(number: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def _decimals(value: float | None, digits: int, signed: bool = False) -> str:
    if not _defined(value):
        return UNDEFINED
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")  # a rounded zero has no sign
    return text.replace("-", "\N{MINUS SIGN}")


def _defined(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
