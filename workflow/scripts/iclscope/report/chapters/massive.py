"""Massive activations: where they are under each mask, and whether they differ at all."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from iclscope.report.parts import Chapter, Material, Sheet
from iclscope.tables import MASSIVE
from iclscope.verdict.wording import count, quantity

CHAPTER = Chapter("massive", "massive activations", "Where massive activations sit")

SHOWN = 3  # token texts that are named
SAME = 1e-3  # relative spread below which candidates differ by rounding only


@CHAPTER.sheet
def places(material: Material) -> Sheet | None:
    """A row per mask and site: its massive activations, or where the largest activation is; None without a table."""
    if material.massive is None:
        return None
    rows = [
        (str(mask), str(site), *_cells(group))
        for (mask, site), group in MASSIVE.read(material.massive).group_by("mask", "site", maintain_order=True)
    ]
    caption = (
        "Massive activations (|x| > 100 and 1,000 medians): layers and tokens that have them. Where the largest "
        "activation stands at one token and is the same for all candidates, metrics that it rules are constant"
    )
    header = ("mask", "site", "layers", "tokens", "of which", "candidates", "largest |x| of a candidate")
    return Sheet(caption, header, rows, words=range(5))


def _cells(group: pl.DataFrame) -> tuple[str, ...]:
    """Layers, token positions, token texts, candidates and the largest |x|, over the layers of a mask and site."""
    found = group.filter(pl.col("massive") > 0)
    if found.is_empty():
        layers, positions, texts, rows = "none", "none", "", group
    else:
        layers, rows = _ranges(found["layer"].to_list()), found
        positions = _commonest(found["positions"].to_list(), str)
        texts = _commonest(found["tokens"].to_list(), lambda text: f"“{text}”".replace("\n", "\\n"))
    total = group["candidates"].item(0)
    top = rows.sort("high", descending=True).row(0, named=True)
    same = top["high"] - top["low"] <= SAME * top["high"]
    size = f"{quantity(top['high'])}, all alike" if same else f"{quantity(top['low'])} to {quantity(top['high'])}"
    return layers, positions, texts, f"{count(max(group['with_massive']))} of {count(total)}", size


def _commonest(lists: Sequence[Sequence[Any]], written: Callable[[Any], str]) -> str:
    """The values that come first in most layers' lists, and a sign that there are more."""
    scores: Counter[Any] = Counter()
    for values in lists:
        scores.update({value: 1 / rank for rank, value in enumerate(values, start=1)})
    names = [written(value) for value, _ in scores.most_common(SHOWN)]
    return ", ".join([*names, "…"] if len(scores) > SHOWN else names)


def _ranges(layers: Sequence[int]) -> str:
    """Ascending layers as ranges: 3, 5–9."""
    parts: list[list[int]] = []
    for layer in sorted(layers):
        if parts and layer == parts[-1][-1] + 1:
            parts[-1].append(layer)
        else:
            parts.append([layer])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}–{part[-1]}" for part in parts)
