"""Embeddings by a sentence encoder of the user's choice, beside those by the model under study."""

from collections.abc import Mapping, Sequence

import numpy as np
from sentence_transformers import SentenceTransformer

from iclscope.runtime import devices
from iclscope.runtime.errors import StudyError

BATCH_SENTENCES = 64


def encode(settings: Mapping[str, str], sentences: Sequence[str], device: str) -> np.ndarray:
    """Embeddings of sentences, float32 [n, d], not normalised.

    `settings` is the config's `features.encoder`: a folder `path`, or `repo` and `revision` on the hub. Sentences
    longer than the encoder takes are cut at their end.
    """
    name = settings.get("path") or settings["repo"]
    try:
        model = SentenceTransformer(
            name,
            revision=settings.get("revision"),
            device=str(devices.pick(device)),
            local_files_only="path" in settings,
        )
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise StudyError(f"features.encoder: {name} cannot be loaded as a sentence encoder ({reason})") from error
    return model.encode(list(sentences), batch_size=BATCH_SENTENCES, show_progress_bar=False)
