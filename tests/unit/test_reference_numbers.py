"""The script behind the tables of the reference study leaves no hole in them."""

import json
import math
import runpy
from pathlib import Path

import polars as pl
import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "docs/reference_numbers.py"))


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_refuses_a_number_that_is_not_there(missing):
    with pytest.raises(SystemExit, match="a number that a table needs is undefined"):
        SCRIPT["number"](missing)


def test_refuses_results_without_a_file(tmp_path):
    with pytest.raises(SystemExit, match=r"verdict\.json is missing"):
        SCRIPT["main"](tmp_path)


def test_a_set_is_compared_with_what_its_members_do_on_other_items(tmp_path):
    (tmp_path / "verdict.json").write_text(json.dumps({"models": {"tiny": {"sums": {"target": "gold_logprob"}}}}))
    for kind in ("shots", "evaluation"):
        (tmp_path / kind / "tiny").mkdir(parents=True)
    # On item 9, which no set is tried on, candidate c scores c; on item 0 the other way round.
    scores = [(c, item, float(c if item == 9 else -c)) for c in range(12) for item in (0, 9)]
    names = ("candidate", "item", "gold_logprob")
    pl.DataFrame(scores, names, orient="row").write_parquet(tmp_path / "evaluation/tiny/sums.parquet")
    sets = [("random", 0, number, [number, number + 1], 0, float(number)) for number in range(11)]
    sets += [("top", 0, 11, [11, 10], 0, -100.0), ("random", 1, 12, [1, 0], 0, 50.0)]
    columns = ("name", "order", "set", "members", "item", "gold_logprob")
    sets[0], sets[1] = (*sets[0][:-1], 1.0), (*sets[1][:-1], 0.0)
    pl.DataFrame(sets, columns, orient="row").write_parquet(tmp_path / "shots/tiny/sums.parquet")
    _, row = SCRIPT["sets"](SCRIPT["Study"](tmp_path))
    assert row == ("tiny, sums", "11", "0.99 (0.96 to 1.00)")


def test_what_the_verdict_says_of_sparse_features_becomes_a_word(tmp_path):
    sentence = (
        "Ridge regression on the features of the SAE gains +0.2 nats: it beats its untrained twin, which gains +0.100, "
        "and it loses to the dense vector (probe), which gains +0.300."
    )
    gains = {"gain": 0.2, "low": 0.1, "high": 0.3}
    said = {"sentences": [sentence], "selectors": dict.fromkeys(("sae_ridge", "sae_ridge_random", "probe"), gains)}
    (tmp_path / "verdict.json").write_text(json.dumps({"models": {"tiny": {"sums": said}}}))
    _, row = SCRIPT["sparse"](SCRIPT["Study"](tmp_path))
    assert row == ("tiny, sums", *["0.20 (0.10 to 0.30)"] * 3, "yes", "it is worse")
