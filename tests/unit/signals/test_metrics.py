"""Metrics against their definitions on the whole tensor, from which only statistics per token were kept."""

import numpy as np
import polars as pl
import pytest
import scipy.stats
import torch

from iclscope.activations.per_token import TOP, VECTORS, summarise
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.runtime.parquet import read_provenance
from iclscope.signals import metrics
from iclscope.signals.metrics import METRICS_BY_NAME, NO_TOKENS, compute
from iclscope.signals.poolings import POOLINGS
from iclscope.tables import ACTIVATIONS, METRICS, PER_TOKEN

WIDTH = 48
TOP_K = 6


def rows(tensors, spans=None, site="mlp_out", layer=0):
    """Rows of the activations table for whole tensors [tokens, d], one candidate each, reduced one by one."""
    made = []
    for candidate, x in enumerate(tensors):
        tokens = len(x)
        question, answer = spans[candidate] if spans else ((1, tokens - 3), (tokens - 2, tokens))
        found = summarise(torch.from_numpy(x)[None].float(), torch.tensor([tokens]), TOP_K)
        made.append(
            {
                "candidate": candidate, "layer": layer, "site": site, "n_tokens": tokens,
                "question_start": question[0], "question_end": question[1],
                "answer_start": answer[0], "answer_end": answer[1],
                **{name: found[name][0].tolist() for name in (*PER_TOKEN, *TOP, *VECTORS)},
            }
        )  # fmt: skip
    frame = pl.DataFrame(made, schema=ACTIVATIONS.schema)
    ACTIVATIONS.check(frame)
    return frame


def tensors(seed=0, sizes=(9, 14, 6)):
    rng = np.random.default_rng(seed)
    made = [rng.gamma(2, rng.uniform(0.1, 3, (n, 1)), (n, WIDTH)) - rng.uniform(0, 4, (n, 1)) for n in sizes]
    made[0][0, 7] = 4000
    made[0][0, 9] = -3500
    return [x.astype(np.float32).astype(np.float64) for x in made]


def per_token(function):
    return lambda x: np.mean([function(token) for token in x])


DIRECT = {
    "mean": np.mean,
    "variance": np.var,
    "skewness": lambda x: scipy.stats.skew(x, axis=None),
    "kurtosis": lambda x: scipy.stats.kurtosis(x, axis=None),
    "variance_token": per_token(np.var),
    "skewness_token": per_token(scipy.stats.skew),
    "kurtosis_token": per_token(scipy.stats.kurtosis),
    "max_abs": lambda x: np.abs(x).max(),
    "log_max_median": lambda x: np.log(np.abs(x).max() / np.median(np.sort(np.abs(x), axis=1)[:, (WIDTH - 1) // 2])),
    "top_share": per_token(lambda t: np.sort(np.abs(t))[-TOP_K:].sum() / np.abs(t).sum()),
    "l2_norm": per_token(np.linalg.norm),
    "participation_ratio": per_token(lambda t: (t**2).sum() ** 2 / (t**4).sum()),
    "hoyer": per_token(
        lambda t: (WIDTH**0.5 - np.linalg.norm(t, 1) / np.linalg.norm(t)) / (WIDTH**0.5 - 1),
    ),
    "entropy": per_token(lambda t: scipy.stats.entropy(np.abs(t) / np.abs(t).sum())),
}
RANGES = {
    "all": lambda n: slice(0, n),
    "no_sink": lambda n: slice(1, n),
    "question": lambda n: slice(1, n - 3),
    "answer": lambda n: slice(n - 2, n),
    "last": lambda n: slice(n - 1, n),
}


def test_every_metric_is_tested():
    assert set(DIRECT) | {"massive"} == set(METRICS_BY_NAME)
    assert set(RANGES) == set(POOLINGS)


@pytest.mark.parametrize("name", METRICS_BY_NAME)
def test_docstrings_give_shape_and_source(name):
    text = METRICS_BY_NAME[name].function.__doc__
    assert "[rows]" in text
    assert "Source:" in text


@pytest.mark.parametrize("pooling", RANGES)
@pytest.mark.parametrize("name", DIRECT)
def test_equals_its_definition_on_the_whole_tensor(name, pooling):
    found = compute(rows(tensors()), [pooling], [name])
    METRICS.check(found)
    wanted = [DIRECT[name](x[RANGES[pooling](len(x))]) for x in tensors()]
    np.testing.assert_allclose(found["value"], wanted, rtol=2e-4, atol=1e-4)
    assert found["reason"].null_count() == 3


@pytest.mark.parametrize(("pooling", "counts"), [("all", [2, 0, 0]), ("no_sink", [0, 0, 0]), ("last", [0, 0, 0])])
def test_massive_counts_the_tokens_that_enter(pooling, counts):
    assert compute(rows(tensors()), [pooling], ["massive"])["value"].to_list() == counts


def test_rows_of_several_layers_and_widths_keep_apart():
    wide = [np.tile(x, 3) for x in tensors(1)]
    frames = [rows(tensors()), rows(tensors(2), layer=1), rows(wide, site="mlp_act")]
    names, poolings = list(METRICS_BY_NAME), list(POOLINGS)
    together = compute(pl.concat(frames), poolings, names)
    apart = pl.concat([compute(frame, poolings, names) for frame in frames]).sort(METRICS.key)
    assert together.equals(apart)
    assert together.equals(together.sort(METRICS.key))
    assert together.height == 9 * len(names) * len(poolings)


def test_no_token_is_undefined_not_zero():
    frame = rows(tensors(), spans=[((0, 0), (7, 9)), ((1, 14), (14, 14)), ((1, 4), (4, 6))])
    found = compute(frame, ["question", "answer"], list(METRICS_BY_NAME))
    for pooling, candidate in (("question", 0), ("answer", 1)):
        empty = found.filter(pl.col.pooling == pooling, pl.col.candidate == candidate)
        assert empty["value"].null_count() == empty.height == len(METRICS_BY_NAME)
        assert set(empty["reason"]) == {NO_TOKENS}
    assert found.filter(pl.col.reason.is_null()).height == 4 * len(METRICS_BY_NAME)


def test_the_only_token_of_a_demonstration_is_the_sink():
    found = compute(rows([tensors()[0][:1]], spans=[((0, 0), (0, 1))]), ["no_sink", "last"], ["mean"])
    assert found["reason"].to_list() == [None, NO_TOKENS]


def reasons(x, pooling="all"):
    found = compute(rows([x]), [pooling], list(METRICS_BY_NAME))
    return dict(zip(found["metric"], found["reason"], strict=True)), dict(
        zip(found["metric"], found["value"], strict=True)
    )


def test_constant_activations():
    why, value = reasons(np.full((8, WIDTH), -0.3))
    constant = {"skewness", "kurtosis", "skewness_token", "kurtosis_token"}
    assert {name for name, reason in why.items() if reason} == constant
    assert why["kurtosis"] == "the activation is constant over tokens and neurons"
    assert why["kurtosis_token"] == "the activation of a token is constant over neurons"
    assert value["variance"] == 0
    assert value["participation_ratio"] == pytest.approx(WIDTH)
    assert value["hoyer"] == pytest.approx(0, abs=1e-6)


def test_one_constant_token_leaves_the_pooled_shape_defined():
    x = tensors()[1]
    x[3] = 2.5
    why, value = reasons(x)
    assert {name for name, reason in why.items() if reason} == {"skewness_token", "kurtosis_token"}
    assert value["kurtosis"] == pytest.approx(scipy.stats.kurtosis(x, axis=None), rel=1e-4)


def test_a_zero_token():
    x = tensors()[1]
    x[3] = 0
    why, _ = reasons(x)
    zero = {"top_share", "participation_ratio", "hoyer", "entropy"}
    assert {name for name, reason in why.items() if reason == "the activation of a token is zero"} == zero
    why, _ = reasons(np.zeros((8, WIDTH)))
    assert why["log_max_median"] == "the median |x| is zero"


def test_bounds_of_sparsity():
    one = np.zeros((8, WIDTH))
    one[:, 5] = -7.0
    _, value = reasons(one)
    assert value["participation_ratio"] == pytest.approx(1, rel=1e-4)
    assert value["hoyer"] == pytest.approx(1)
    assert value["entropy"] == pytest.approx(0, abs=1e-5)
    assert value["top_share"] == pytest.approx(1)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(StudyError, match=r"metrics\.names: 'curtosis' is unknown; choose from mean, variance"):
        compute(rows(tensors()), ["all"], ["curtosis"])
    with pytest.raises(StudyError, match=r"metrics\.poolings: 'first' is unknown; choose from all, no_sink"):
        compute(rows(tensors()), ["first"], ["mean"])


def test_run(tmp_path):
    frame = pl.concat([rows(tensors(), site=site, layer=layer) for layer in (0, 1) for site in ("resid", "mlp_out")])
    ACTIVATIONS.write(frame, tmp_path / "a.parquet", {"extraction": "abc"}, row_group_size=2)
    asked = {
        "activations": {"causal": tmp_path / "a.parquet"},
        "settings": {"poolings": ["last", "all"], "names": ["kurtosis", "entropy"]},
        "metrics_out": {"causal": tmp_path / "m.parquet"},
        "code": "one",
        "job": Job(1, {}),
    }
    with pytest.raises(StudyError, match=r"a\.parquet was made with other settings or code than the study has; delete"):
        metrics.run(**asked, extraction="abd")
    metrics.run(**asked, extraction="abc")
    found = METRICS.read(tmp_path / "m.parquet")
    assert found.equals(compute(frame, ["last", "all"], ["kurtosis", "entropy"]))
    assert found.equals(found.sort(METRICS.key))


def test_masks_for_which_nothing_changed_are_left_alone(tmp_path):
    masks, kept = ("causal", "self_only"), {"poolings": ["all"], "names": ["mean"]}
    places = {mask: tmp_path / f"{mask}.parquet" for mask in masks}
    made = {mask: tmp_path / "made" / f"{mask}.parquet" for mask in masks}
    for path in places.values():
        ACTIVATIONS.write(rows(tensors()), path, {"extraction": "abc"})

    def run(code="one", inputs=("a", "b"), settings=kept):
        """The masks whose file was written."""
        before = {mask: path.stat().st_mtime_ns if path.is_file() else 0 for mask, path in made.items()}
        record = {"settings": settings, "inputs": dict(zip(map(str, places.values()), inputs, strict=True))}
        asked = {"activations": places, "extraction": "abc", "settings": settings, "metrics_out": made}
        metrics.run(**asked, code=code, job=Job(1, record))
        for mask, content in zip(masks, inputs, strict=True):
            assert read_provenance(made[mask])["inputs"] == {str(places[mask]): content}
        return [mask for mask, path in made.items() if path.stat().st_mtime_ns != before[mask]]

    assert run() == [*masks]
    assert run(inputs=("a", "c")) == ["self_only"]
    made["causal"].unlink()
    assert run(inputs=("a", "c")) == ["causal"]
    made["causal"].write_bytes(made["causal"].read_bytes()[:-9])  # damaged
    assert run(inputs=("a", "c")) == ["causal"]
    assert run("two", ("a", "c")) == [*masks]
    assert run("two", ("a", "c"), {"poolings": ["last"], "names": ["mean"]}) == [*masks]
    assert run("two", ("a", "c"), {"poolings": ["last"], "names": ["mean"]}) == [*masks]  # the job was forced
