"""Every Parquet table of the study: its columns, their types, units and meaning. A table is declared once, here."""

from iclscope.tables.dictionaries import SAE_DICTIONARY, SAE_FEATURES, SAE_METRICS, SAE_SCREEN, SAE_TRAINING
from iclscope.tables.judged import (
    AGREEMENT,
    CORRELATION,
    GAINS,
    HEADLINE,
    PLAN,
    POWER,
    QUALITY,
    RELIABILITY,
    SELECTION,
    SUMMARY,
    VARIANCE,
)
from iclscope.tables.measured import (
    ACTIVATIONS,
    EMBEDDINGS,
    EVALUATION,
    FEATURES,
    MASSIVE,
    METRICS,
    POOL,
    SAMPLE,
    SHOTS,
    TOKEN_ACTIVATIONS,
)
from iclscope.tables.words import (
    BEATS_RANDOM as BEATS_RANDOM,
)
from iclscope.tables.words import (
    BEST_POSSIBLE as BEST_POSSIBLE,
)
from iclscope.tables.words import (
    FAMILIES as FAMILIES,
)
from iclscope.tables.words import (
    FINAL_TABLES as FINAL_TABLES,
)
from iclscope.tables.words import (
    LOWERS_ACCURACY as LOWERS_ACCURACY,
)
from iclscope.tables.words import (
    PER_TOKEN as PER_TOKEN,
)
from iclscope.tables.words import (
    RANDOM_SETS as RANDOM_SETS,
)
from iclscope.tables.words import (
    RANDOM_WILL_DO as RANDOM_WILL_DO,
)
from iclscope.tables.words import (
    SIGNAL as SIGNAL,
)
from iclscope.tables.words import (
    SIGNAL_KEY as SIGNAL_KEY,
)
from iclscope.tables.words import (
    SPANS as SPANS,
)
from iclscope.tables.words import (
    TWIN as TWIN,
)
from iclscope.tables.words import (
    ZERO_SHOT as ZERO_SHOT,
)

TABLES = {
    table.name: table
    for table in (
        POOL, SAMPLE, EVALUATION, SHOTS, ACTIVATIONS, TOKEN_ACTIVATIONS, MASSIVE, METRICS, FEATURES,
        EMBEDDINGS, QUALITY, RELIABILITY, VARIANCE, CORRELATION, HEADLINE, SELECTION, GAINS, AGREEMENT, SUMMARY, PLAN,
        POWER, SAE_DICTIONARY, SAE_TRAINING, SAE_FEATURES, SAE_METRICS, SAE_SCREEN,
    )
}  # fmt: skip
