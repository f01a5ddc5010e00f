"""Every Parquet table of the study: its columns, their types, units and meaning. A table is declared once, here."""

import polars as pl

from iclscope.runtime.parquet import Column, Table

# Words that several rooms use.
ZERO_SHOT = -1  # candidate id of the prompt without a demonstration
SIGNAL = ("mask", "site", "layer", "pooling", "metric")
SIGNAL_KEY = ("mask", "site", "pooling", "metric")
FAMILIES = ("activation", "feature", "control")
SPANS = ("n_tokens", "question_start", "question_end", "answer_start", "answer_end")
PER_TOKEN = (
    "mean", "variance", "skewness", "kurtosis", "mean_abs", "median_abs",
    "max_abs", "max_abs_neuron", "entropy_abs", "top_share", "massive",
)  # fmt: skip
FINAL_TABLES = ("correlation", "headline", "quality", "reliability", "selection", "gains", "agreement")
BEST_POSSIBLE = "best_possible"  # stands among the selectors of the table gains

_CANDIDATE = Column("candidate", pl.Int32, "candidate id: rank in the seeded permutation")
_LAYER = Column("layer", pl.Int16, "block index, 0 is the first")
_SITE = Column("site", pl.String, "where in the block: mlp_out, mlp_act or resid")
_TOKENS = pl.List(pl.Float32)
_VALUE = pl.Float64

_SAMPLE_COLUMNS = (
    Column("id", pl.Int32, "candidate or item id: rank in the seeded permutation"),
    Column("split", pl.String, "split of the data set the row comes from"),
    Column("source_row", pl.Int32, "row number in that split, 0 is the first"),
    Column("kind", pl.String, "how the row is scored: choice or generation"),
    Column("description", pl.String, "task description at the start of every prompt, delimiter included"),
    Column("question", pl.String, "rendered question; as an item, this is what follows the demonstration"),
    Column("target_delimiter", pl.String, "text between question and answer"),
    Column("choices", pl.List(pl.String), "answer texts without delimiter; for generation only the gold answer"),
    Column("gold", pl.Int32, "index of the right answer in choices"),
    Column("prefix", pl.String, "description, question, answer and delimiter: the text before an item"),
    Column("question_start", pl.Int32, "first character of the question in prefix", "characters"),
    Column("question_end", pl.Int32, "character after the question in prefix", "characters"),
    Column("answer_start", pl.Int32, "first character of the answer in prefix", "characters"),
    Column("answer_end", pl.Int32, "character after the answer in prefix", "characters"),
    Column("cluster", pl.String, "rows with the same value share a passage; empty: a row of its own", nullable=True),
    Column("tokens", pl.Int32, "tokens of the row as the max_tokens filter counts them", "tokens", nullable=True),
    Column("document", pl.String, "the original row as JSON"),
)

SAMPLE = Table(
    "sample",
    "Rows drawn from a data set, in the order of a seeded permutation, rendered to text once",
    _SAMPLE_COLUMNS,
    ("id",),
)

POOL = Table(
    "pool",
    "All usable rows of a data set in the order of the seeded permutations; samples are its first rows",
    (Column("role", pl.String, "candidate or item"), *_SAMPLE_COLUMNS),
    ("role", "id"),
)

EVALUATION = Table(
    "evaluation",
    "The one-shot score matrix: every candidate as the only demonstration before every item",
    (
        Column("candidate", pl.Int32, "candidate id; -1 is the zero-shot prompt"),
        Column("item", pl.Int32, "item id"),
        Column("logprobs", pl.List(pl.Float32), "log probability of each choice after the prompt", "nats"),
        Column("gold_logprob", pl.Float32, "log probability of the right answer", "nats"),
        Column("margin", pl.Float32, "gold log probability minus the best wrong one", "nats", nullable=True),
        Column(
            "correct",
            pl.Float32,
            "acc for choices; else the first of scores, or 1 minus it if lower is better",
        ),
        Column("correct_norm", pl.Float32, "acc_norm: choices compared per character", nullable=True),
        Column("text", pl.String, "generated answer", nullable=True),
        Column(
            "scores",
            pl.List(pl.Struct({"filter": pl.String, "metric": pl.String, "value": pl.Float32})),
            "every filter and metric of the task for the generated answer; the first is the one behind correct",
            nullable=True,
        ),
        Column("prompt_tokens", pl.Int32, "tokens of the prompt without any answer", "tokens"),
    ),
    ("candidate", "item"),
)

ACTIVATIONS = Table(
    "activations",
    "Statistics of the activations of every candidate's tokens, a row per candidate, layer and site",
    (
        _CANDIDATE,
        _LAYER,
        _SITE,
        Column("n_tokens", pl.Int32, "tokens of the demonstration", "tokens"),
        Column("question_start", pl.Int32, "first token of the question", "tokens"),
        Column("question_end", pl.Int32, "token after the question", "tokens"),
        Column("answer_start", pl.Int32, "first token of the answer", "tokens"),
        Column("answer_end", pl.Int32, "token after the answer", "tokens"),
        Column("mean", _TOKENS, "per token: mean over neurons", "activation"),
        Column("variance", _TOKENS, "per token: variance over neurons (divisor d)", "activation^2"),
        Column("skewness", _TOKENS, "per token: third standardised moment over neurons; NaN if constant"),
        Column("kurtosis", _TOKENS, "per token: excess kurtosis over neurons; NaN if constant"),
        Column("mean_abs", _TOKENS, "per token: mean |x| over neurons", "activation"),
        Column("median_abs", _TOKENS, "per token: median |x| over neurons", "activation"),
        Column("max_abs", _TOKENS, "per token: max |x| over neurons", "activation"),
        Column("max_abs_neuron", pl.List(pl.Int32), "per token: neuron with the max |x|"),
        Column("entropy_abs", _TOKENS, "per token: entropy of |x| / sum |x| over neurons", "nats"),
        Column("top_share", _TOKENS, "per token: share of the top-k |x| in the sum of |x|"),
        Column("massive", pl.List(pl.Int32), "per token: neurons with |x| > 100 and > 1000 x median |x| of all tokens"),
        Column("top_value", _TOKENS, "the k largest |x| of all tokens, signed, largest first", "activation"),
        Column("top_token", pl.List(pl.Int32), "their token positions"),
        Column("top_neuron", pl.List(pl.Int32), "their neurons"),
        Column("mean_vector", pl.List(pl.Float16), "activation averaged over tokens [d]", "activation"),
        Column("last_vector", pl.List(pl.Float16), "activation of the last token [d]", "activation"),
    ),
    ("candidate", "layer", "site"),
)

TOKEN_ACTIVATIONS = Table(
    "token_activations",
    "The whole activation of every token (store: full); a row group holds one layer and site of some candidates",
    (
        _CANDIDATE,
        Column("position", pl.Int32, "token of the demonstration, 0 is the first", "tokens"),
        _LAYER,
        _SITE,
        Column("vector", pl.List(pl.Float16), "activation [d]", "activation"),
    ),
    ("candidate", "position", "layer", "site"),
)

MASSIVE = Table(
    "massive",
    "Where massive activations and the largest ones occur, a row per mask, site and layer",
    (
        Column("mask", pl.String, "attention mask"),
        _SITE,
        _LAYER,
        Column("candidates", pl.Int32, "number of candidates"),
        Column("massive", pl.Int64, "massive activations of all candidates together"),
        Column("with_massive", pl.Int32, "candidates that have one"),
        Column("positions", pl.List(pl.Int32), "token positions that have one: up to five, the commonest first"),
        Column("tokens", pl.List(pl.String), "texts of tokens that have one: up to five, the commonest first"),
        Column("largest_position", pl.Int32, "commonest token position of a candidate's max |x|"),
        Column("largest_token", pl.String, "commonest text of the token with a candidate's max |x|"),
        Column("low", pl.Float32, "smallest max |x| of a candidate", "activation"),
        Column("high", pl.Float32, "largest max |x| of a candidate", "activation"),
    ),
    ("mask", "site", "layer"),
)

METRICS = Table(
    "metrics",
    "One number per candidate, layer, site, pooling and metric; sorted so that each metric's candidates are adjacent",
    (
        _SITE,
        _LAYER,
        Column("pooling", pl.String, "tokens that enter: all, no_sink, question, answer or last"),
        Column("metric", pl.String, "name of the metric"),
        _CANDIDATE,
        Column("value", _VALUE, "value of the metric; empty where undefined", nullable=True),
        Column("reason", pl.String, "why the value is undefined", nullable=True),
    ),
    ("site", "layer", "pooling", "metric", "candidate"),
)

FEATURES = Table(
    "features",
    "What a cheap selector would look at: one row per candidate, no activations needed",
    (
        _CANDIDATE,
        Column("length", pl.Int32, "tokens of the demonstration", "tokens"),
        Column("label", pl.Int32, "index of the right answer; empty for generated answers", nullable=True),
        Column("nll", _VALUE, "mean negative log probability of the demonstration's tokens", "nats/token"),
        Column("answer_nll", _VALUE, "negative log probability of the right answer, zero-shot", "nats"),
        Column("zero_shot_margin", _VALUE, "gold minus best wrong log probability, zero-shot", "nats", nullable=True),
        Column("zero_shot_entropy", _VALUE, "entropy of the softmax over choices, zero-shot", "nats", nullable=True),
        Column("similarity", _VALUE, "mean cosine similarity to the items' embeddings"),
        Column("typicality", _VALUE, "mean cosine similarity to the nearest candidates' embeddings"),
        Column("random", _VALUE, "seeded uniform noise: the control that must predict nothing"),
    ),
    ("candidate",),
)

EMBEDDINGS = Table(
    "embeddings",
    "Mean final hidden state of the question's tokens, of every candidate and item",
    (
        Column("role", pl.String, "candidate or item"),
        Column("id", pl.Int32, "candidate or item id"),
        Column("vector", pl.List(pl.Float32), "embedding [d], not normalised"),
        Column("encoding", pl.List(pl.Float32), "embedding by the sentence encoder, if there is one", nullable=True),
    ),
    ("role", "id"),
)

_TARGET = Column("target", pl.String, "quality target: accuracy, accuracy_norm, gold_logprob, margin or gain")

QUALITY = Table(
    "quality",
    "How well each candidate works as the only demonstration: mean score over the items",
    (
        _TARGET,
        _CANDIDATE,
        Column("value", _VALUE, "mean over items"),
        Column("standard_error", _VALUE, "standard error of the mean over items"),
        Column("items", pl.Int32, "number of items"),
    ),
    ("target", "candidate"),
)

RELIABILITY = Table(
    "reliability",
    "How much of the differences in quality is real, and the highest correlation that anything can reach with it",
    (
        _TARGET,
        Column("candidates", pl.Int32, "number of candidates"),
        Column("items", pl.Int32, "number of items"),
        Column("zero_shot", _VALUE, "mean score without a demonstration", nullable=True),
        Column("mean", _VALUE, "mean quality over candidates"),
        Column("sd", _VALUE, "standard deviation of quality over candidates"),
        Column("alpha", _VALUE, "Cronbach's alpha", nullable=True),
        Column("split_half", _VALUE, "split-half reliability over random halves (Spearman-Brown)", nullable=True),
        Column("ceiling", _VALUE, "noise ceiling of a correlation: sqrt(alpha)", nullable=True),
        Column("items_needed", pl.Int64, "items for a ceiling of 0.95 (Spearman-Brown)", nullable=True),
        Column("reason", pl.String, "why alpha is undefined", nullable=True),
        Column("metric", pl.String, "the task's metric behind accuracies, such as exact_match (filter)", nullable=True),
    ),
    ("target",),
)

CORRELATION = Table(
    "correlation",
    "Spearman correlation of every signal with every quality target",
    (
        _TARGET,
        Column("family", pl.String, "activation, feature or control"),
        Column("mask", pl.String, "attention mask; empty for features", nullable=True),
        Column("site", pl.String, "activation site; empty for features", nullable=True),
        Column("layer", pl.Int16, "block index; empty for features", nullable=True),
        Column("pooling", pl.String, "tokens that enter; empty for features", nullable=True),
        Column("metric", pl.String, "metric or feature"),
        Column("n", pl.Int32, "candidates with a value"),
        Column("n_unique", pl.Int32, "distinct values of the signal"),
        Column("tie_share", _VALUE, "share of candidates whose value is shared with another"),
        Column("rho", _VALUE, "Spearman's rho", nullable=True),
        Column("low", _VALUE, "95 % interval, pigeonhole bootstrap", nullable=True),
        Column("high", _VALUE, "95 % interval, pigeonhole bootstrap", nullable=True),
        Column("analytic_low", _VALUE, "95 % interval, Bonett and Wright (2000)", nullable=True),
        Column("analytic_high", _VALUE, "95 % interval, Bonett and Wright (2000)", nullable=True),
        Column("rho_disattenuated", _VALUE, "rho / sqrt(alpha); empty below alpha = 0.3", nullable=True),
        Column("p", _VALUE, "two-sided p of this signal alone, permutations", nullable=True),
        Column("p_maxt", _VALUE, "p corrected for its whole family, Westfall-Young maxT", nullable=True),
        Column("q_bh", _VALUE, "false discovery rate in its family, Benjamini-Hochberg", nullable=True),
        Column("q_by", _VALUE, "false discovery rate in its family, Benjamini-Yekutieli", nullable=True),
        Column("partial_length", _VALUE, "partial rho given length", nullable=True),
        Column("partial_label", _VALUE, "partial rho given length and label; empty without labels", nullable=True),
        Column("partial_nll", _VALUE, "partial rho given length, label (where there is one) and NLL", nullable=True),
        Column("partial_p", _VALUE, "two-sided p of partial_nll, t with C - 2 - k degrees of freedom", nullable=True),
        Column("equivalence", pl.String, "no useful effect, useful effect or undecided (TOST)", nullable=True),
        Column("reason", pl.String, "why rho is undefined", nullable=True),
    ),
    ("target", "family", *SIGNAL),
)

_HEADLINE_COLUMNS = (
    _TARGET,
    Column("candidates", pl.Int32, "number of candidates"),
    Column("items", pl.Int32, "number of items"),
    Column("signals", pl.Int32, "activation signals, undefined ones included"),
    Column("undefined", pl.Int32, "activation signals without a defined correlation"),
    Column("alpha", _VALUE, "Cronbach's alpha of the target", nullable=True),
    Column("ceiling", _VALUE, "noise ceiling", nullable=True),
    Column("null_95", _VALUE, "95 % quantile of max |rho| when nothing is related", nullable=True),
    Column("best_rho", _VALUE, "rho with the largest |rho| of all activation signals", nullable=True),
    Column("best_signal", pl.String, "its mask, site, layer, pooling and metric", nullable=True),
    Column("best_p_maxt", _VALUE, "its corrected p", nullable=True),
    Column("nested_rho", _VALUE, "rho of the best signal where it was not chosen, in its direction", nullable=True),
    Column("optimism", _VALUE, "|rho| where chosen minus nested_rho, mean over splits", nullable=True),
    Column("length_rho", _VALUE, "rho of the plain length", nullable=True),
    Column("significant", pl.Int32, "activation signals with a corrected p below 0.05"),
    Column("useful", pl.Int32, "activation signals shown to have a useful effect", nullable=True),
    Column("useless", pl.Int32, "activation signals shown to have no useful effect", nullable=True),
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
        _TARGET,
        Column("selector", pl.String, "name of the selector"),
        Column("kind", pl.String, "static: one candidate for all items; query: a candidate per item"),
        Column("pool", pl.Int32, "candidates in the random pools that it picks from"),
        Column("value", _VALUE, "mean score of what it picks, over pools", nullable=True),
        Column("gain", _VALUE, "value minus the mean score of a random candidate", nullable=True),
        Column("low", _VALUE, "95 % interval for other candidates and items, as learned here", nullable=True),
        Column("high", _VALUE, "95 % interval of the gain", nullable=True),
        Column("standard_error", _VALUE, "standard error of the gain", nullable=True),
        Column("error_candidates", _VALUE, "the part of it that is due to the candidates; squares add", nullable=True),
        Column("freedom", _VALUE, "degrees of freedom of the standard error (Satterthwaite)", nullable=True),
        Column("p", _VALUE, "two-sided p of the gain; empty where nothing varies", nullable=True),
        Column("p_holm", _VALUE, "p corrected for all selectors of the target, Holm", nullable=True),
        Column("regret", _VALUE, "the best possible gain minus the gain; empty where that is unknown", nullable=True),
        Column("search_items", _VALUE, "items a search needs to gain as much; empty: more", "items", nullable=True),
        Column("search_low", _VALUE, "95 % interval of that number; empty: more", "items", nullable=True),
        Column("search_high", _VALUE, "95 % interval of that number; empty: more", "items", nullable=True),
        Column("cost", _VALUE, "tokens that a model reads before the choice is made, answers left out", "tokens"),
        Column("covariance", pl.List(_VALUE), "with the errors of the target's selectors, by row", nullable=True),
        Column("reason", pl.String, "why the gain is undefined", nullable=True),
    ),
    ("target", "selector"),
)

GAINS = Table(
    "gains",
    "Gain over random choice against the number of candidates to pick from: in random pools of each size, and of all",
    (
        _TARGET,
        Column("selector", pl.String, "name of the selector; best_possible: the expected maximum of true quality"),
        Column("pool", pl.Int32, "candidates in a pool"),
        Column("gain", _VALUE, "expected score of what it picks minus the mean score of a random candidate"),
        Column("low", _VALUE, "95 % interval; empty for the single pick from all candidates", nullable=True),
        Column("high", _VALUE, "95 % interval; empty for the single pick from all candidates", nullable=True),
        Column("p", _VALUE, "two-sided p of this gain alone; of a single pick by candidates' tails", nullable=True),
    ),
    ("target", "selector", "pool"),
)

AGREEMENT = Table(
    "agreement",
    "Whether another quality target of the model, or another model in the same target, finds the same candidates good",
    (
        _TARGET,
        Column("with_model", pl.String, "the model compared with: this one, or another on the same data set"),
        Column("with_target", pl.String, "the target compared with"),
        Column("candidates", pl.Int32, "number of candidates"),
        Column("items", pl.Int32, "number of items that both have"),
        Column("pool", pl.Int32, "candidates in the pools of gain_elsewhere"),
        Column("rho", _VALUE, "correlation of true qualities, from products over different items only", nullable=True),
        Column("low", _VALUE, "95 % interval, for other candidates and items like these", nullable=True),
        Column("high", _VALUE, "95 % interval", nullable=True),
        Column("halves", _VALUE, "correlation to expect of qualities on disjoint halves of the items", nullable=True),
        Column("ceiling", _VALUE, "the largest that this could be", nullable=True),
        Column("gain_elsewhere", _VALUE, "what the best of a pool by target gains in with_target, on other items"),
        Column("gain_low", _VALUE, "95 % interval of that gain; empty where nothing varies", nullable=True),
        Column("gain_high", _VALUE, "95 % interval of that gain; empty where nothing varies", nullable=True),
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
        Column("best_selector", pl.String, "selector with the largest gain", nullable=True),
        Column("best_gain", _VALUE, "its gain over random", nullable=True),
        Column("best_gain_low", _VALUE, "95 % interval of that gain", nullable=True),
        Column("best_gain_high", _VALUE, "95 % interval of that gain", nullable=True),
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
    ),
    ("stage", "model", "dataset"),
)

TABLES = {
    table.name: table
    for table in (
        POOL, SAMPLE, EVALUATION, ACTIVATIONS, TOKEN_ACTIVATIONS, MASSIVE, METRICS, FEATURES, EMBEDDINGS,
        QUALITY, RELIABILITY, CORRELATION, HEADLINE, SELECTION, GAINS, AGREEMENT, SUMMARY, PLAN,
    )
}  # fmt: skip
