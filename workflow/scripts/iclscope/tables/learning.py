"""Tables of learning curves: what strategies that choose rows to label gain, on frozen representations."""

import polars as pl

from iclscope.runtime.parquet import Column, Table
from iclscope.tables.words import VALUE

_REPRESENTATION = Column("representation", pl.String, "encoder, or layer_n: the question's last token, hidden state n")
_START = "how the first labels were chosen: random or typiclust"
_STRATEGY = "query strategy that chose all later ones"

_PALM = {
    "limit": "A, the accuracy that labels lead to",
    "delta": "delta, how much of what is missing a batch brings",
    "alpha": "alpha, batches that the curve is ahead at the start",
    "beta": "beta, how the use of further batches grows (above 1) or fades",
}

ENCODINGS = Table(
    "encodings",
    "Questions of rows that are neither candidates nor items, by the sentence encoder",
    (
        Column("id", pl.Int32, "place among these rows, 0 is the first"),
        Column("vector", pl.List(pl.Float32), "embedding [d], not normalised"),
    ),
    ("id",),
)

LEARNING = Table(
    "learning",
    "Learning curves: a classifier on labels that a strategy chose, in each random split into pool and test set",
    (
        _REPRESENTATION,
        Column("start", pl.String, f"{_START}; all: every row of the pool is labelled"),
        Column("strategy", pl.String, f"{_STRATEGY}; all: every row of the pool is labelled"),
        Column("seed", pl.Int32, "number of the split, the same for all representations, starts and strategies"),
        Column("labelled", pl.Int32, "labels of the pool that the classifier knows"),
        Column("accuracy", VALUE, "share of the test set that it gets right"),
        Column("balanced_accuracy", VALUE, "the same, every class of the test set alike"),
        Column("pool_accuracy", VALUE, "share of the pool whose label is then known or predicted rightly"),
        Column("classes_seen", pl.Int16, "classes among the labels"),
        Column("coverage", VALUE, "Good's estimate of the share of random rows whose class is among them, 1 - f1/n"),
    ),
    ("representation", "start", "strategy", "seed", "labelled"),
)

LEARNING_SUMMARY = Table(
    "learning_summary",
    "What strategies gain over random labels from a random start, by the area under their learning curves",
    (
        _REPRESENTATION,
        Column("start", pl.String, _START),
        Column("strategy", pl.String, _STRATEGY),
        Column("seeds", pl.Int32, "splits of the data set"),
        Column("aulc", VALUE, "area under the learning curve over its range: mean accuracy"),
        Column("difference", VALUE, "aulc minus that of random labels from a random start, in the same splits"),
        Column("low", VALUE, "95 % interval of the difference, over splits of this data set", nullable=True),
        Column("high", VALUE, "95 % interval of the difference", nullable=True),
        Column("p", VALUE, "two-sided p of the difference alone, sign flips of whole splits", nullable=True),
        Column("p_maxt", VALUE, "p corrected for all starts and strategies of the representation, maxT", nullable=True),
        Column("balanced_difference", VALUE, "the same difference with every class alike: of balanced accuracy"),
        Column("balanced_low", VALUE, "95 % interval of that", nullable=True),
        Column("balanced_high", VALUE, "95 % interval of that", nullable=True),
        Column("balanced_p_maxt", VALUE, "its corrected p", nullable=True),
        Column("wins", pl.Int32, "splits in which the difference is larger than the margin of the verdict"),
        Column("ties", pl.Int32, "splits in which it is not larger than that either way"),
        Column("losses", pl.Int32, "splits in which it lies below the negative margin"),
        Column("accuracy", VALUE, "mean accuracy at the end"),
        Column(
            "labels_saved",
            VALUE,
            "labels that random ones take for the accuracy half way, over the labels there; empty: more than are tried",
            nullable=True,
        ),
        Column("forecast", VALUE, "accuracy at the end by a power law through the first half", nullable=True),
        Column("forecast_double", VALUE, "accuracy with twice the labels by one through all", nullable=True),
        Column("stop", pl.Int32, "labels after which to stop looking for new classes; empty: never", nullable=True),
        Column("stop_classes", VALUE, "mean number of classes seen there", nullable=True),
        Column("stop_coverage", VALUE, "mean coverage there", nullable=True),
        Column("probe_accuracy", VALUE, "mean accuracy where every row of the pool is labelled"),
        *(
            Column(f"palm_{name}{bound}", VALUE, text, nullable=True)
            for name, meaning in _PALM.items()
            for bound, text in (
                ("", f"PALM's {meaning}; empty: too few steps or splits"),
                ("_low", "lower end of what 95 % of resampled splits give for it"),
                ("_high", "upper end of that"),
            )
        ),
    ),
    ("representation", "start", "strategy"),
)

LEARNING_CLAIMS = Table(
    "learning_claims",
    "What benchmarks of active learning claim (arXiv 2506.01992), tested on this data set",
    (
        Column("claim", pl.String, "embedding, rank, start, start_embedding or steady"),
        Column("question", pl.String, "what is asked"),
        Column("value", VALUE, "what was measured", nullable=True),
        Column("low", VALUE, "95 % interval, over splits of this data set", nullable=True),
        Column("high", VALUE, "95 % interval", nullable=True),
        Column("p", VALUE, "two-sided p", nullable=True),
        Column("p_holm", VALUE, "p corrected for the claims of this table, Holm", nullable=True),
        Column("verdict", pl.String, "holds, contradicted, not shown or undefined"),
        Column("sentence", pl.String, "the verdict in words, with its numbers"),
    ),
    ("claim",),
)
