"""Where quality comes from: rows of the table variance, of one model and of all models of a study together."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclscope.matrix.quality import BALANCED, SHIFTED, Scores, lacks_items
from iclscope.statistics.signals.components import Components, Sources, components_of, components_of_models, sources


def variance_rows(
    scores: Mapping[str, Scores], models: Sequence[Mapping[str, Scores]], gold: NDArray[np.int64] | None
) -> Iterator[dict[str, Any]]:
    """Rows for the targets that are plain means over items.

    `scores` are those of one model, `models` those of every model on the items that all have; what models share is
    told from what each has alone where there are several. `gold` [N] are the items' labels, if any: where a label has a
    single item, no push towards labels can be told from that item, and then there is none.
    """
    for target, (matrix, _) in scores.items():
        if target in BALANCED or target in SHIFTED:
            continue
        yield from _rows(target, "score", components_of(matrix, _labels(gold, matrix)))
        yield from _rows(target, "quality", sources(matrix, _labels(gold, matrix)))
        if len(models) > 1 and all(target in of for of in models):
            together = np.stack([of[target].matrix for of in models])
            shared, own = components_of_models(together, _labels(gold, together))
            yield from _rows(target, "shared", shared)
            yield from _rows(target, "own", own)


def _labels(gold: NDArray[np.int64] | None, scores: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Labels of the items that `scores` [..., N] has; None if a push towards one of them cannot be told."""
    gold = None if gold is None else gold[: scores.shape[-1]]
    return None if gold is None or lacks_items(gold) else gold


def _rows(target: str, of: str, parts: Components | Sources) -> Iterator[dict[str, Any]]:
    for source, variance in vars(parts).items():
        yield {"target": target, "of": of, "source": source, "variance": variance}
