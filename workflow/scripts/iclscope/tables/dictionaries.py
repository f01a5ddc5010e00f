"""Tables of sparse autoencoders: what their features do, how they were trained, and what is read off candidates."""

import polars as pl

from iclscope.runtime.parquet import Column, Table
from iclscope.tables.measured import METRICS
from iclscope.tables.words import LAYER, SITE, SPANS, VALUE

SAE = Column("sae", pl.String, "name of the SAE in the config; with _random behind it, its untrained twin")
FEATURE = Column("feature", pl.Int32, "number of the feature: row of the decoder")

SAE_DICTIONARY = Table(
    "sae_dictionary",
    "What every feature of an SAE and of its untrained twin does on the texts that it was trained or measured on",
    (
        SAE,
        FEATURE,
        Column("density", VALUE, "share of tokens in which it is active"),
        Column("mean_value", VALUE, "mean value where it is active; empty: nowhere", "activation", nullable=True),
        Column("contexts", pl.List(pl.String), "text around the tokens, in « », with its five largest values"),
    ),
    ("sae", "feature"),
)

SAE_TRAINING = Table(
    "sae_training",
    "How an SAE was trained; its last row says what held-out texts say of it",
    (
        Column("step", pl.Int32, "batches of training; in the last row one more than there were"),
        Column("tokens", pl.Int64, "tokens that it was trained on so far", "tokens"),
        Column("loss", VALUE, "loss of the batch; empty in the last row", nullable=True),
        Column("unexplained", VALUE, "fraction of variance unexplained (FVU): of the batch; last row: held out"),
        Column("dead", VALUE, "share of features silent for 3 % of training; empty: last row", nullable=True),
        Column("active", VALUE, "last row: active features per held-out token (L0)", nullable=True),
        Column("components", VALUE, "last row: FVU of as many principal components, held out", nullable=True),
        Column("untrained", VALUE, "last row: FVU of the untrained dictionary, held out", nullable=True),
    ),
    ("step",),
)

SAE_FEATURES = Table(
    "sae_features",
    "Active features of every token of a candidate or item; position 0 and tokens of outlying norm are left out",
    (
        Column("role", pl.String, "candidate or item"),
        Column("id", pl.Int32, "candidate or item id"),
        Column("position", pl.Int32, "token of the text, 0 is the first", "tokens"),
        *(Column(name, pl.Int32, f"of its text, as in activations: {name}", "tokens") for name in SPANS),
        Column("features", pl.List(pl.Int32), "active features"),
        Column("values", pl.List(pl.Float16), "how active each is", "activation"),
        Column("error", pl.Float32, "squared distance of the activation from what these rebuild", "activation^2"),
        Column("energy", pl.Float32, "squared distance of the activation from the training mean", "activation^2"),
    ),
    ("role", "id", "position"),
)

SAE_METRICS = Table(
    "sae_metrics",
    "One number per candidate, pooling and metric of an SAE; sorted so that each metric's candidates are adjacent",
    (
        SAE,
        SITE,
        LAYER,
        *(column for column in METRICS.columns if column.name not in ("site", "layer")),
    ),
    ("sae", *METRICS.key),
)

SAE_SCREEN = Table(
    "sae_screen",
    "Single features of an SAE against the primary quality target; those that 10 to 90 % of the candidates have",
    (
        Column("target", pl.String, "the primary quality target"),
        Column("pooling", pl.String, "tokens over which a candidate's code is the largest value"),
        FEATURE,
        Column("prevalence", VALUE, "share of candidates in which it is active"),
        Column("rho", VALUE, "Spearman's rho with quality", nullable=True),
        Column("p_maxt", VALUE, "p corrected for all rows of this table, studentised maxT", nullable=True),
        Column("stability", VALUE, "share of half samples of candidates in which it is among the strongest"),
        Column("expected_false", VALUE, "at most so many by chance as stable; empty: no bound", nullable=True),
        Column("partial_label", VALUE, "partial rho given length and label; empty without labels", nullable=True),
        Column("context", pl.String, "text around the token, in « », where it is strongest", nullable=True),
    ),
    ("target", "pooling", "feature"),
)
