"""Sets of demonstrations: prompts and scores of the harness, chosen on one half and judged on the other."""

import json
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from datasets import disable_progress_bars
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from iclscope.engine.packing import computed_tokens
from iclscope.engine.prompts import PromptEncoder
from iclscope.plan import workload
from iclscope.runtime.errors import StudyError
from iclscope.selection import sets
from iclscope.tables import EVALUATION
from iclscope.tasks.turns import messages_of, prefix_of
from lm_harness import k_shot
from shot_studies import CANDIDATES, GENERATED, ITEMS, SETTINGS, Study, sets_of

disable_progress_bars()


@pytest.fixture(scope="module")
def frame(study):
    return study.shots()


@pytest.fixture
def generating(tmp_path, monkeypatch, tiny_model, tiny_tokenizer):
    monkeypatch.chdir(tmp_path)
    return Study(tmp_path, tiny_model, tiny_tokenizer, GENERATED)


def members_of(study, one):
    return [study.rows["candidate"][member] for member in one["members"]]


def documents_of(rows):
    return [json.loads(row["document"]) for row in rows]


def test_prompts_are_the_harness_s(study, frame):
    items = study.rows["item"]
    for one in sets_of(frame).iter_rows(named=True):
        members = members_of(study, one)
        for item, document in zip(items, documents_of(items), strict=True):
            wanted = k_shot(study.built, documents_of(members), document)
            assert prefix_of(members) + item["question"] == wanted


def test_scores_are_the_harness_s(study, frame, tiny_model, tiny_tokenizer):
    lm = HFLM(pretrained=tiny_model, tokenizer=tiny_tokenizer, batch_size=1)
    for one in sets_of(frame).filter(order=0).iter_rows(named=True):
        for item, logprobs in zip(one["item"], one["logprobs"], strict=True):
            (document,) = documents_of([study.rows["item"][item]])
            prompt = k_shot(study.built, documents_of(members_of(study, one)), document)
            theirs = lm.loglikelihood(study.built.construct_requests(document, prompt), disable_tqdm=True)
            np.testing.assert_allclose(logprobs, [value for value, _ in theirs], atol=1e-4)


def test_every_set_is_tried_where_it_is_judged(frame):
    """Chosen by one half and tried on the other; what is shipped, and random sets, on all items."""
    halves = {}
    for one in sets_of(frame).iter_rows(named=True):
        if one["fold"] is None:
            assert one["item"] == list(range(ITEMS))
        else:
            assert halves.setdefault(one["fold"], one["item"]) == one["item"]
    assert sorted([*halves[0], *halves[1]]) == list(range(ITEMS))
    counts = dict(sets_of(frame).group_by("name").len().iter_rows())
    assert counts == {"random": 4, "random_balanced": 2, "balanced": 5, "top": 5, "cover": 5}


def test_what_is_chosen_is_best_in_the_matrix_and_the_best_comes_last(study):
    frame = sets_of(study.shots(primary="gold_logprob"))
    pairs = EVALUATION.read(study.files["evaluation"]).filter(pl.col("candidate") >= 0).sort("candidate", "item")
    scores = pairs["gold_logprob"].to_numpy().reshape(CANDIDATES, ITEMS)
    labels = [row["gold"] for row in study.rows["candidate"]]
    chosen = {(s["name"], s["fold"]): s for s in frame.filter(order=0).iter_rows(named=True)}
    for fold in (0, 1, None):
        judges = chosen["top", fold]["item"] if fold is not None else []
        means = scores[:, [item for item in range(ITEMS) if item not in judges]].mean(axis=1)
        assert chosen["top", fold]["members"] == np.argsort(means)[-3:].tolist()
        of_label = ([c for c in range(CANDIDATES) if labels[c] == label] for label in range(3))
        best = [max(mine, key=means.__getitem__) for mine in of_label]
        assert chosen["balanced", fold]["members"] == sorted(best, key=means.__getitem__)
    shipped = frame.filter(pl.col("name") == "top", pl.col("fold").is_null())
    orders = [tuple(members) for members in shipped["members"]]
    assert len(set(orders)) == len(orders) == 3
    assert {frozenset(members) for members in orders} == {frozenset(chosen["top", None]["members"])}


def test_cover_of_two_leaves_no_better_pair_by_much():
    """Greedy covers at least 1 - 1/e of the best (Nemhauser et al. 1978), here over a floor of 0."""
    scores = np.random.default_rng(3).random((9, 12))
    worth = {pair: np.maximum(*scores[list(pair)]).mean() for pair in combinations(range(9), 2)}
    found = worth[tuple(sorted(sets.cover(scores, None, 2)))]
    assert (1 - 1 / np.e) * max(worth.values()) <= found <= max(worth.values())


def test_balanced_takes_labels_in_turn_where_there_are_fewer_than_demonstrations():
    scores = np.arange(8.0)[:, None] + np.zeros((8, 3))
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    assert sets.balanced(scores, labels, 5) == (7, 6, 3, 5, 2)
    assert sets.balanced(scores, labels, 2) == (7, 6)
    assert sets.balanced(scores, None, 2) is None


def test_random_balanced_sets_have_labels_as_even_as_can_be():
    labels = np.array([0] * 20 + [1] * 4 + [2] * 3)
    settings = SETTINGS | {"sizes": [4], "random_sets": 400}
    drawn = list(sets.random_sets(27, labels, settings, np.random.default_rng(1)))
    even = [one for one in drawn if one.name == "random_balanced"]
    assert (len(drawn), len(even)) == (600, 200)
    for one in even:
        assert sorted(np.bincount(labels[list(one.members)], minlength=3)) == [1, 1, 2]
        assert len(set(one.members)) == 4
    twice = np.mean([np.bincount(labels[list(one.members)], minlength=3) == 2 for one in even], axis=0)
    np.testing.assert_allclose(twice, 1 / 3, atol=0.1)


def test_orders_are_all_different_and_no_more_than_there_are():
    settings = SETTINGS | {"sizes": [2], "orders": 7, "choose": ["top"]}
    halves = np.array([True, True, False, False])
    scores = np.random.default_rng(2).random((6, 4))
    found = list(sets.chosen_sets(scores, None, halves, settings, np.random.default_rng(1)))
    assert [(one.fold, one.order) for one in found] == [(0, 0), (1, 0), (None, 0), (None, 1)]
    assert found[2].members == found[3].members[::-1]


def test_fewer_items_are_the_first_ones(study):
    frame = study.shots(items=5)
    assert sorted(frame["item"].unique()) == list(range(5))


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({}, "gold_logprob_balanced"),
        ({"items": 5}, "gold_logprob"),  # of one label there is a single item
        ({"primary": "gain", "targets": ["accuracy", "gain"]}, "gold_logprob"),  # a shift by item changes no gain
        ({"primary": "margin"}, "margin"),
    ],
)
def test_sets_are_chosen_by_the_nearest_target_that_they_have(study, settings, target):
    assert sets.read_chosen(sets.Files(**study.files), study.settings(**settings), 1).target == target


def test_of_generated_answers_the_right_one_is_scored(generating, tiny_model, tiny_tokenizer):
    frame = generating.shots(primary="accuracy")
    assert set(frame["name"].unique()) == {"random", "top", "cover"}
    assert frame["correct"].null_count() == frame.height
    lm = HFLM(pretrained=tiny_model, tokenizer=tiny_tokenizer, batch_size=1)
    one = sets_of(frame).row(0, named=True)
    (document,) = documents_of([generating.rows["item"][one["item"][0]]])
    prompt = k_shot(generating.built, documents_of(members_of(generating, one)), document)
    ((value, _),) = lm.loglikelihood([_request(document, prompt, " " + document["answer"])], disable_tqdm=True)
    assert one["logprobs"][0] == pytest.approx([value], abs=1e-4)


def _request(document, prompt, answer):
    return Instance("loglikelihood", document, (prompt, answer), 0)


@pytest.mark.parametrize("settings", [{}, {"sizes": [2, 4], "orders": 9, "choose": ["top"], "items": 6}])
def test_the_plan_counts_the_tokens_that_are_read(study, tiny_tokenizer, settings):
    encoder, candidates, items = PromptEncoder(tiny_tokenizer), study.rows["candidate"], study.rows["item"]
    planned = workload.shots(encoder, candidates, items, SETTINGS | settings)
    read = 0
    for one in sets_of(study.shots(**settings)).iter_rows(named=True):
        prefix = prefix_of(members_of(study, one))
        read += computed_tokens(encoder.encode(prefix, [items[item] for item in one["item"]]))
    assert planned.tokens == pytest.approx(read, rel=0.05)


def test_turns_of_a_chat_hold_what_the_prompt_holds(study):
    members = study.rows["candidate"][:2]
    messages = messages_of(members)
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert messages[0]["content"] == "Answer each question."
    place = 0
    for message in messages:
        place = prefix_of(members).index(message["content"], place) + len(message["content"])
    assert messages[2]["content"] == members[0]["choices"][members[0]["gold"]]


def test_sets_larger_than_the_pool_are_refused(study):
    with pytest.raises(StudyError, match=r"shots\.sizes: 13 demonstrations, but the data set has 12 candidates"):
        study.shots(sizes=[13])


def test_prompts_longer_than_the_context_are_refused(tmp_path, monkeypatch, tiny_model_of, tiny_tokenizer):
    monkeypatch.chdir(tmp_path)
    study = Study(tmp_path, tiny_model_of("llama", max_position_embeddings=150), tiny_tokenizer)
    with pytest.raises(StudyError, match=r"shots\.sizes: 6 demonstrations before item \d+ take \d+ tokens .* 150 of"):
        study.shots(sizes=[6])
