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
    BEST_POSSIBLE as BEST_POSSIBLE,
    FAMILIES as FAMILIES,
    FINAL_TABLES as FINAL_TABLES,
    LOWERS_ACCURACY as LOWERS_ACCURACY,
    PER_TOKEN as PER_TOKEN,
    RANDOM_SETS as RANDOM_SETS,
    RANDOM_WILL_DO as RANDOM_WILL_DO,
    SIGNAL as SIGNAL,
    SIGNAL_KEY as SIGNAL_KEY,
    SPANS as SPANS,
    TASK_SCORE as TASK_SCORE,
    TWIN as TWIN,
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
