"""Words that several tables and rooms use, and columns that several tables have."""

import polars as pl

from iclscope.runtime.parquet import Column

ZERO_SHOT = -1  # candidate id of the prompt without a demonstration
SIGNAL = ("mask", "site", "layer", "pooling", "metric")
SIGNAL_KEY = ("mask", "site", "pooling", "metric")
FAMILIES = ("activation", "feature", "control", "sae", "sae_random")
SPANS = ("n_tokens", "question_start", "question_end", "answer_start", "answer_end")
PER_TOKEN = (
    "mean", "variance", "skewness", "kurtosis", "mean_abs", "median_abs",
    "max_abs", "max_abs_neuron", "entropy_abs", "top_share", "massive",
)  # fmt: skip
FINAL_TABLES = ("correlation", "headline", "quality", "reliability", "variance", "selection", "gains", "agreement")
BEATS_RANDOM, LOWERS_ACCURACY, RANDOM_WILL_DO = "beats random", "lowers accuracy", "random will do"  # of a pick
RANDOM_SETS = ("random", "random_balanced")  # names of sets of demonstrations that were drawn, not chosen
TASK_SCORE = "accuracy"  # the quality target that is what a task scores
TWIN = "_random"  # behind the name of an SAE, and of a selector that goes by one: the untrained dictionary
REASON = "reason"  # in the provenance of a table without rows: why it has none
BEST_POSSIBLE = "best_possible"  # stands among the selectors of the table gains

CANDIDATE = Column("candidate", pl.Int32, "candidate id: rank in the seeded permutation")
LAYER = Column("layer", pl.Int16, "block index, 0 is the first")
SITE = Column("site", pl.String, "where in the block: mlp_out, mlp_act or resid")
TOKENS = pl.List(pl.Float32)
VALUE = pl.Float64
