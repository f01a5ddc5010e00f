"""Tables of what follows from the scores: quality, correlations, selectors, the whole study, and plans."""

import polars as pl

from iclscope.runtime.parquet import Column, Table
from iclscope.tables.words import CANDIDATE, SIGNAL, VALUE

TARGET = Column("target", pl.String, "quality target, one of the config's quality.targets")
PRIMARY = Column("primary", pl.Boolean, "whether claims are about this target; all others are exploratory")


QUALITY = Table(
    "quality",
    "How well each candidate works as the only demonstration: mean score over the items",
    (
        TARGET,
        CANDIDATE,
        Column("value", VALUE, "mean over items"),
        Column("standard_error", VALUE, "standard error of the mean over items"),
        Column("items", pl.Int32, "number of items"),
        Column("one_answer", VALUE, "share of items that get one answer; empty if choices differ", nullable=True),
    ),
    ("target", "candidate"),
)

RELIABILITY = Table(
    "reliability",
    "How much of the differences in quality is real, and the highest correlation that anything can reach with it",
    (
        TARGET,
        PRIMARY,
        Column("candidates", pl.Int32, "number of candidates"),
        Column("items", pl.Int32, "number of items"),
        Column("zero_shot", VALUE, "mean score without a demonstration", nullable=True),
        Column("mean", VALUE, "mean quality over candidates"),
        Column("sd", VALUE, "standard deviation of quality over candidates"),
        Column("alpha", VALUE, "Cronbach's alpha; with clusters, of items nested in them", nullable=True),
        Column("alpha_low", VALUE, "95 % interval of alpha", nullable=True),
        Column("alpha_high", VALUE, "95 % interval of alpha", nullable=True),
        Column("split_half", VALUE, "split-half reliability over random halves (Spearman-Brown)", nullable=True),
        Column("ceiling", VALUE, "noise ceiling of a correlation: sqrt(alpha)", nullable=True),
        Column("items_needed", pl.Int64, "items for a ceiling of 0.95 (Spearman-Brown)", nullable=True),
        Column("reason", pl.String, "why alpha is undefined", nullable=True),
        Column("metric", pl.String, "the task's metric behind accuracies, such as exact_match (filter)", nullable=True),
    ),
    ("target",),
)

VARIANCE = Table(
    "variance",
    "Where quality comes from: variance components of one score, and of quality, its mean over these items",
    (
        Column("target", pl.String, "quality target that is a plain mean over items"),
        Column(
            "of",
            pl.String,
            "score: of one pair of candidate and item; quality: of a candidate's mean; where there are several models, "
            "shared: the part of a score that they have in common, own: the part that each has alone (x model)",
        ),
        Column(
            "source",
            pl.String,
            "of quality: level (on all labels alike), push (towards the labels that more items have), both (twice "
            "their covariance), rest (noise); else: candidate, item, push (towards the item's gold label), rest "
            "(candidate x item)",
        ),
        Column("variance", VALUE, "unbiased estimate, below zero at times where there is nothing", "squared score"),
    ),
    ("target", "of", "source"),
)

CORRELATION = Table(
    "correlation",
    "Spearman correlation of every signal with every quality target",
    (
        TARGET,
        Column("family", pl.String, "activation, feature, control, sae or sae_random (untrained SAEs)"),
        Column("sae", pl.String, "name of the SAE; empty for other families", nullable=True),
        Column("mask", pl.String, "attention mask; empty for features", nullable=True),
        Column("site", pl.String, "activation site; empty for features", nullable=True),
        Column("layer", pl.Int16, "block index; empty for features", nullable=True),
        Column("pooling", pl.String, "tokens that enter; empty for features", nullable=True),
        Column("metric", pl.String, "metric or feature"),
        Column("n", pl.Int32, "candidates with a value"),
        Column("n_unique", pl.Int32, "distinct values of the signal"),
        Column("tie_share", VALUE, "share of candidates whose value is shared with another"),
        Column("rho", VALUE, "Spearman's rho", nullable=True),
        Column("low", VALUE, "95 % interval, for other candidates and other items", nullable=True),
        Column("high", VALUE, "95 % interval, for other candidates and other items", nullable=True),
        Column("analytic_low", VALUE, "95 % interval for fixed items, Bonett and Wright (2000)", nullable=True),
        Column("analytic_high", VALUE, "95 % interval for fixed items, Bonett and Wright (2000)", nullable=True),
        Column("latent_rho", VALUE, "rho with quality without noise, rho / sqrt(alpha)", nullable=True),
        Column("latent_low", VALUE, "95 % interval of latent_rho; empty: open", nullable=True),
        Column("latent_high", VALUE, "95 % interval of latent_rho; empty: open", nullable=True),
        Column("small", pl.Boolean, "no effect of use, even without noise (TOST)", nullable=True),
        Column("statistic", VALUE, "atanh(rho) over its standard error, as a standard normal deviate", nullable=True),
        Column("p", VALUE, "two-sided p of this signal alone, permutations of candidates", nullable=True),
        Column("p_maxt", VALUE, "p corrected for its family in this table, studentised maxT", nullable=True),
        Column("q_bh", VALUE, "false discovery rate in its family, Benjamini-Hochberg", nullable=True),
        Column("q_by", VALUE, "false discovery rate in its family, Benjamini-Yekutieli", nullable=True),
        Column("partial_length", VALUE, "partial rho given length", nullable=True),
        Column("partial_label", VALUE, "partial rho given length and label; empty without labels", nullable=True),
        Column("partial_nll", VALUE, "partial rho given length, label (where there is one) and NLL", nullable=True),
        Column("partial_zero_shot", VALUE, "the same given the zero-shot answer log probability too", nullable=True),
        Column("p_beyond", VALUE, "p of partial_zero_shot, corrected as p_maxt is (Freedman-Lane)", nullable=True),
        Column("reason", pl.String, "why rho is undefined", nullable=True),
    ),
    ("target", "family", "sae", *SIGNAL),
)

_HEADLINE_COLUMNS = (
    TARGET,
    PRIMARY,
    Column("candidates", pl.Int32, "number of candidates"),
    Column("items", pl.Int32, "number of items"),
    Column("signals", pl.Int32, "activation signals, undefined ones included"),
    Column("undefined", pl.Int32, "activation signals without a defined correlation"),
    Column("alpha", VALUE, "reliability of the target", nullable=True),
    Column("ceiling", VALUE, "noise ceiling", nullable=True),
    Column("null_95", VALUE, "|rho| below which chance keeps all of them in 95 of 100 tables", nullable=True),
    Column("sae_null_95", VALUE, "as null_95, of the signals of SAEs; empty: there are none", nullable=True),
    Column("best_rho", VALUE, "rho with the largest |rho| of all activation signals", nullable=True),
    Column("best_signal", pl.String, "its mask, site, layer, pooling and metric", nullable=True),
    Column("best_p_maxt", VALUE, "its p, corrected for this table", nullable=True),
    Column("best_value", VALUE, "what it is worth: its rho, corrected for having been the largest", nullable=True),
    Column("best_value_low", VALUE, "95 % interval of best_value", nullable=True),
    Column("best_value_high", VALUE, "95 % interval of best_value", nullable=True),
    Column("luck", VALUE, "what |best_rho| owes to having been the largest", nullable=True),
    Column("length_rho", VALUE, "rho of the plain length", nullable=True),
    Column("cheap_share", VALUE, "share of Var(q) that nuisances predict, of unseen candidates", nullable=True),
    Column("all_share", VALUE, "the same with all activation signals together", nullable=True),
    Column("added", VALUE, "all_share minus cheap_share", nullable=True),
    Column("added_low", VALUE, "lower limit of added: above it with 97.5 % confidence", nullable=True),
)

HEADLINE = Table(
    "headline",
    "The correlation study in one row per quality target",
    _HEADLINE_COLUMNS,
    ("target",),
)

SELECTION = Table(
    "selection",
    "What a selector is worth: score of the demonstrations it picks on items it has not seen, minus random",
    (
        TARGET,
        Column("selector", pl.String, "name of the selector"),
        Column("kind", pl.String, "static: one candidate for all items; query: a candidate per item"),
        Column("pool", pl.Int32, "candidates in the random pools that it picks from"),
        Column("value", VALUE, "mean score of what it picks, over pools", nullable=True),
        Column("gain", VALUE, "value minus the mean score of a random candidate", nullable=True),
        Column("low", VALUE, "95 % interval for other candidates and items, as learned here", nullable=True),
        Column("high", VALUE, "95 % interval of the gain", nullable=True),
        Column("standard_error", VALUE, "standard error of the gain", nullable=True),
        Column("error_candidates", VALUE, "the part of it that is due to the candidates; squares add", nullable=True),
        Column("freedom", VALUE, "degrees of freedom of the standard error (Satterthwaite)", nullable=True),
        Column("p", VALUE, "two-sided p of the gain; empty where nothing varies", nullable=True),
        Column("p_holm", VALUE, "p corrected for all selectors of the target, Holm", nullable=True),
        Column("regret", VALUE, "the best possible gain minus the gain; empty where that is unknown", nullable=True),
        Column("search_items", VALUE, "items a search needs to gain as much; empty: more", "items", nullable=True),
        Column("search_low", VALUE, "95 % interval of that number; empty: more", "items", nullable=True),
        Column("search_high", VALUE, "95 % interval of that number; empty: more", "items", nullable=True),
        Column("cost", VALUE, "tokens that a model reads before the choice is made, answers left out", "tokens"),
        Column("label_match", VALUE, "share of items whose pick has their label; query kinds, choices", nullable=True),
        Column("label_gain", VALUE, "gain of random candidates that have the label as often", nullable=True),
        Column("reason", pl.String, "why the gain is undefined", nullable=True),
    ),
    ("target", "selector"),
)

GAINS = Table(
    "gains",
    "Gain over random choice against the number of candidates to pick from: in random pools of each size, and of all",
    (
        TARGET,
        Column("selector", pl.String, "name of the selector; best_possible: the expected maximum of true quality"),
        Column("pool", pl.Int32, "candidates in a pool"),
        Column("gain", VALUE, "expected score of what it picks minus the mean score of a random candidate"),
        Column("low", VALUE, "95 % interval; empty for the single pick from all candidates", nullable=True),
        Column("high", VALUE, "95 % interval; empty for the single pick from all candidates", nullable=True),
        Column("p", VALUE, "two-sided p of this gain alone; of a single pick by candidates' tails", nullable=True),
    ),
    ("target", "selector", "pool"),
)

AGREEMENT = Table(
    "agreement",
    "Whether another quality target of the model, or another model in the same target, finds the same candidates good",
    (
        TARGET,
        Column("with_model", pl.String, "the model compared with: this one, or another on the same data set"),
        Column("with_target", pl.String, "the target compared with"),
        Column("candidates", pl.Int32, "number of candidates"),
        Column("items", pl.Int32, "number of items that both have"),
        Column("pool", pl.Int32, "candidates in the pools of gain_elsewhere"),
        Column("rho", VALUE, "correlation of true qualities, from products over different items only", nullable=True),
        Column("low", VALUE, "95 % interval, for other candidates and items like these", nullable=True),
        Column("high", VALUE, "95 % interval", nullable=True),
        Column("halves", VALUE, "correlation to expect of qualities on disjoint halves of the items", nullable=True),
        Column("ceiling", VALUE, "the largest that this could be", nullable=True),
        Column("gain_elsewhere", VALUE, "what the best of a pool by target gains in with_target, on other items"),
        Column("gain_low", VALUE, "95 % interval of that gain; empty where nothing varies", nullable=True),
        Column("gain_high", VALUE, "95 % interval of that gain; empty where nothing varies", nullable=True),
        Column("reason", pl.String, "why rho is undefined", nullable=True),
    ),
    ("target", "with_model", "with_target"),
)

SUMMARY = Table(
    "summary",
    "The whole study in one row per model, data set and quality target",
    (
        Column("model", pl.String, "name of the model in the config"),
        Column("dataset", pl.String, "name of the data set in the config"),
        *_HEADLINE_COLUMNS,
        Column("status", pl.String, "what may be said of the activation signals; of the primary target", nullable=True),
        Column("best_selector", pl.String, "selector with the largest gain", nullable=True),
        Column("best_gain", VALUE, "its gain over random", nullable=True),
        Column("best_gain_low", VALUE, "95 % interval of that gain", nullable=True),
        Column("best_gain_high", VALUE, "95 % interval of that gain", nullable=True),
    ),
    ("model", "dataset", "target"),
)

PLAN = Table(
    "plan",
    "What a study will cost, a row per stage, model and data set",
    (
        Column("stage", pl.String, "name of the stage"),
        Column("model", pl.String, "name of the model in the config; empty: no model runs", nullable=True),
        Column("dataset", pl.String, "name of the data set in the config; empty: whichever", nullable=True),
        Column("jobs", pl.Int32, "jobs of the stage"),
        Column("tokens", pl.Int64, "tokens that the model reads, padding left out", "tokens"),
        Column("new_tokens", pl.Int64, "tokens that it is expected to generate", "tokens"),
        Column("flops", pl.Float64, "floating-point operations of the model", "FLOP"),
        Column("bytes", pl.Int64, "size of the results on disk, a rough estimate", "bytes"),
        Column("hours", pl.Float64, "hours of one device, or of one core without a model", "hours"),
        Column("start_share", pl.Float64, "share of the hours in which jobs start and load the model"),
        Column(
            "layout_share",
            pl.Float64,
            "share of the time at work in which a core lays out prompts; 1: all waits for it",
        ),
    ),
    ("stage", "model", "dataset"),
)

POWER = Table(
    "power",
    "What studies of a size can show, a row per data set, number of candidates and of items",
    (
        Column("dataset", pl.String, "name of the data set in the config"),
        Column("source", pl.String, "where its variance components are from"),
        Column("candidates", pl.Int32, "number of candidates"),
        Column("items", pl.Int32, "number of items"),
        Column("configured", pl.Boolean, "whether this is the size in the config"),
        Column("alpha", VALUE, "reliability of quality"),
        Column("detect", VALUE, "probability that a signal with the smallest useful effect is found"),
        Column("exclude", VALUE, "probability that useful effects are ruled out where there are none"),
    ),
    ("dataset", "candidates", "items"),
)

BUDGET = Table(
    "budget",
    "What pools of labelled candidates are worth, drawn at random or chosen by a strategy before any has a label",
    (
        TARGET,
        Column("rule", pl.String, "any, nearest, search: how a demonstration is picked; probe; probe_over_nearest"),
        Column("representation", pl.String, "vectors of the questions: mean or last of the final state, or encoder"),
        Column("strategy", pl.String, "what is labelled: random, or the name of a strategy"),
        Column("budget", pl.Int32, "labelled candidates"),
        Column("value", VALUE, "mean score of the items; of probe_over_nearest the difference", nullable=True),
        Column("gain", VALUE, "value minus that of random pools; empty for these", nullable=True),
        Column("area", VALUE, "mean gain over the budgets", nullable=True),
        Column(
            "standard_error", VALUE, "of the gain, of random pools of the value; empty: nothing varies", nullable=True
        ),
        Column("low", VALUE, "95 % interval of the same", nullable=True),
        Column("high", VALUE, "95 % interval of the same", nullable=True),
        Column("p_holm", VALUE, "two-sided p of area, corrected for the strategies (Holm)", nullable=True),
        Column(
            "label_match",
            VALUE,
            "share of items whose demonstration has their label; of the probe: it names it",
            nullable=True,
        ),
        Column("reason", pl.String, "why there is no value", nullable=True),
    ),
    ("target", "rule", "representation", "strategy", "budget"),
)
