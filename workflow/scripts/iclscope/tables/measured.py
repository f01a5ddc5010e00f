"""Tables of what is drawn, read off the models and scored."""

import polars as pl

from iclscope.runtime.parquet import Column, Table
from iclscope.tables.words import CANDIDATE, LAYER, SITE, TOKENS, VALUE

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
        Column("correct_calibrated", pl.Float32, "acc of calibrated scores, if asked for", nullable=True),
        Column("gold_logprob_calibrated", pl.Float32, "gold_logprob calibrated over labels", "nats", nullable=True),
        Column("margin_calibrated", pl.Float32, "margin of calibrated scores", "nats", nullable=True),
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

SHOTS = Table(
    "shots",
    "Sets of several demonstrations before the items: chosen ones and random ones, each in an order",
    (
        Column("set", pl.Int32, "number of the set in its order, 0 is the first"),
        Column("name", pl.String, "how it was chosen: balanced, top or cover; or drawn: random or random_balanced"),
        Column("k", pl.Int16, "demonstrations in it"),
        Column("order", pl.Int16, "0: as chosen, the best last, or as drawn; else another order of these members"),
        Column("fold", pl.Int8, "half of the items that chose it, 0 or 1; empty: all of them, or none", nullable=True),
        Column("members", pl.List(pl.Int32), "candidate ids, in the order in which they stand in the prompt"),
        Column("item", pl.Int32, "item id; of a set that a half chose, the other half's"),
        Column("logprobs", pl.List(pl.Float32), "log probability of each choice after the prompt", "nats"),
        Column("gold_logprob", pl.Float32, "log probability of the right answer", "nats"),
        Column("margin", pl.Float32, "gold log probability minus the best wrong one", "nats", nullable=True),
        Column("correct", pl.Float32, "acc; empty where answers are generated, which sets do not do", nullable=True),
        Column("correct_norm", pl.Float32, "acc_norm: choices compared per character", nullable=True),
        Column("prompt_tokens", pl.Int32, "tokens of the prompt without any answer", "tokens"),
    ),
    ("set", "item"),
)

SHOTS_SUMMARY = Table(
    "shots_summary",
    "What sets of demonstrations score, single ones among them: every random set, and chosen ones on other items",
    (
        Column("target", pl.String, "the quality target that sets are chosen and judged by"),
        Column("name", pl.String, "how it was chosen: balanced, top or cover; or drawn: random or random_balanced"),
        Column("k", pl.Int16, "demonstrations in it"),
        Column("number", pl.Int32, "of one demonstration the candidate, else place among the random sets; chosen: 0"),
        Column("share", pl.Float64, "chance that this set is drawn; empty: it is chosen", nullable=True),
        Column(
            "value", pl.Float64, "mean score of the items, of a chosen set by what other items chose", nullable=True
        ),
        Column("gain", pl.Float64, "value minus the mean of random sets of this size; empty: drawn", nullable=True),
        Column("low", pl.Float64, "95 % interval of the gain, for other items and other random sets", nullable=True),
        Column("high", pl.Float64, "95 % interval of the gain", nullable=True),
        Column("verdict", pl.String, "as in picks, corrected for all sets that were chosen", nullable=True),
        Column("reason", pl.String, "why there is no such set", nullable=True),
    ),
    ("target", "name", "k", "number"),
)

HALVING = Table(
    "halving",
    "Sequential halving: the pairs of candidate and item that it takes to find one demonstration",
    (
        Column("round", pl.Int16, "from 0 on; the last one compares the winner with random candidates on other items"),
        CANDIDATE,
        Column("item", pl.Int32, "item id"),
        Column("drawn", pl.Boolean, "in the last round: whether the candidate was drawn for this item"),
        Column("gold_logprob", pl.Float32, "log probability of the right answer", "nats"),
        Column("margin", pl.Float32, "gold log probability minus the best wrong one", "nats", nullable=True),
        Column("correct", pl.Float32, "acc; empty where answers are generated", nullable=True),
        Column("correct_norm", pl.Float32, "acc_norm: choices compared per character", nullable=True),
        Column("prompt_tokens", pl.Int32, "tokens of the prompt without any answer", "tokens"),
    ),
    ("round", "candidate", "item", "drawn"),
)

ACTIVATIONS = Table(
    "activations",
    "Statistics of the activations of every candidate's tokens, a row per candidate, layer and site",
    (
        CANDIDATE,
        LAYER,
        SITE,
        Column("n_tokens", pl.Int32, "tokens of the demonstration", "tokens"),
        Column("question_start", pl.Int32, "first token of the question", "tokens"),
        Column("question_end", pl.Int32, "token after the question", "tokens"),
        Column("answer_start", pl.Int32, "first token of the answer", "tokens"),
        Column("answer_end", pl.Int32, "token after the answer", "tokens"),
        Column("mean", TOKENS, "per token: mean over neurons", "activation"),
        Column("variance", TOKENS, "per token: variance over neurons (divisor d)", "activation^2"),
        Column("skewness", TOKENS, "per token: third standardised moment over neurons; NaN if constant"),
        Column("kurtosis", TOKENS, "per token: excess kurtosis over neurons; NaN if constant"),
        Column("mean_abs", TOKENS, "per token: mean |x| over neurons", "activation"),
        Column("median_abs", TOKENS, "per token: median |x| over neurons", "activation"),
        Column("max_abs", TOKENS, "per token: max |x| over neurons", "activation"),
        Column("max_abs_neuron", pl.List(pl.Int32), "per token: neuron with the max |x|"),
        Column("entropy_abs", TOKENS, "per token: entropy of |x| / sum |x| over neurons", "nats"),
        Column("top_share", TOKENS, "per token: share of the top-k |x| in the sum of |x|"),
        Column("massive", pl.List(pl.Int32), "per token: neurons with |x| > 100 and > 1000 x median |x| of all tokens"),
        Column("top_value", TOKENS, "the k largest |x| of all tokens, signed, largest first", "activation"),
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
        CANDIDATE,
        Column("position", pl.Int32, "token of the demonstration, 0 is the first", "tokens"),
        LAYER,
        SITE,
        Column("vector", pl.List(pl.Float16), "activation [d]", "activation"),
    ),
    ("candidate", "position", "layer", "site"),
)

MASSIVE = Table(
    "massive",
    "Where massive activations and the largest ones occur, a row per mask, site and layer",
    (
        Column("mask", pl.String, "attention mask"),
        SITE,
        LAYER,
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
        SITE,
        LAYER,
        Column("pooling", pl.String, "tokens that enter: all, no_sink, question, answer or last"),
        Column("metric", pl.String, "name of the metric"),
        CANDIDATE,
        Column("value", VALUE, "value of the metric; empty where undefined", nullable=True),
        Column("reason", pl.String, "why the value is undefined", nullable=True),
    ),
    ("site", "layer", "pooling", "metric", "candidate"),
)

FEATURES = Table(
    "features",
    "What a cheap selector would look at: one row per candidate, no activations needed",
    (
        CANDIDATE,
        Column("length", pl.Int32, "tokens of the demonstration", "tokens"),
        Column("label", pl.Int32, "index of the right answer; empty for generated answers", nullable=True),
        Column("nll", VALUE, "mean negative log probability of the demonstration's tokens", "nats/token"),
        Column("answer_nll", VALUE, "negative log probability of the right answer, zero-shot", "nats"),
        Column("zero_shot_margin", VALUE, "gold minus best wrong log probability, zero-shot", "nats", nullable=True),
        Column("zero_shot_entropy", VALUE, "entropy of the softmax over choices, zero-shot", "nats", nullable=True),
        Column("similarity", VALUE, "mean cosine similarity to the items' embeddings"),
        Column("typicality", VALUE, "mean cosine similarity to the nearest candidates' embeddings"),
        Column(
            "content_free",
            VALUE,
            "after a question without content: log share of the labels weighted by how many candidates have each, or "
            "mean log probability of other candidates' answers where choices differ or answers are generated",
            "nats",
            nullable=True,
        ),
        Column("content_free_entropy", VALUE, "entropy of the labels' shares there", "nats", nullable=True),
        Column("content_free_mass", VALUE, "probability of all labels together there", nullable=True),
        Column("content_free_shares", pl.List(pl.Float64), "share of each label there", nullable=True),
        Column("content_free_tokens", pl.Int32, "tokens of the questions without content", "tokens", nullable=True),
        Column("random", VALUE, "seeded uniform noise: the control that must predict nothing"),
    ),
    ("candidate",),
)

REPRESENTATIONS = Table(
    "representations",
    "What the model makes of the question alone, which no answer enters; a row group holds one layer",
    (
        Column("layer", pl.Int16, "hidden state: 0 embedding layer, n block n - 1, the last one after the last norm"),
        Column("role", pl.String, "candidates, items or, in pool_representations, pool: rows that are neither"),
        Column("id", pl.Int32, "candidate or item id; of the pool, place among these rows, 0 is the first"),
        Column("mean_vector", pl.List(pl.Float16), "averaged over the question's tokens [d]", "activation"),
        Column("last_vector", pl.List(pl.Float16), "at the last token before the answer [d]", "activation"),
    ),
    ("layer", "role", "id"),
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
