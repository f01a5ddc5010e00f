import logging
import re

import pytest

from iclscope.labelling import curves, learning
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.runtime.parquet import read_provenance
from iclscope.tables import LEARNING
from learning_studies import SETTINGS, write


def run(files, out, code="a", **settings):
    learning.run(files=files, settings={**SETTINGS, **settings}, code=code, learning_out=out, job=Job(1, {"x": 1}))
    return LEARNING.read(out)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write(tmp_path_factory.mktemp("learning"))


def test_every_representation_has_a_curve_per_split_start_and_strategy(files, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "iclscope"):
        table = run(files, tmp_path / "l.parquet")
    counts = table.group_by("representation", "start", "strategy").len()
    assert set(counts["representation"]) == {"encoder", "layer_3"}
    assert "layer_0 is left out: all vectors are the same" in caplog.text
    assert set(counts.filter(strategy="all")["len"]) == {3}
    assert set(counts.filter(start="random")["strategy"]) == {"badge", "margin", "random"}
    assert set(table.filter(start="typiclust").group_by("representation", "strategy", "seed").len()["len"]) == {4}
    probes = table.filter(strategy="all").partition_by("representation", as_dict=True)
    assert probes["encoder",]["accuracy"].mean() > probes["layer_3",]["accuracy"].mean() + 0.1  # as planted


def test_seeds_are_paired_over_representations(files, tmp_path):
    """A random start, and what random labels add, are the same rows whatever stands for them."""
    table = run(files, tmp_path / "l.parquet").filter(start="random", strategy="random")
    encoder, layer = (table.filter(representation=name) for name in ("encoder", "layer_3"))
    assert encoder["coverage"].to_list() == layer["coverage"].to_list()
    assert encoder["accuracy"].to_list() != layer["accuracy"].to_list()


def test_a_job_that_was_killed_goes_on_with_the_split_it_was_at(files, tmp_path, monkeypatch):
    whole = run(files, tmp_path / "whole.parquet")
    done = []

    def until(*arguments):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(arguments[-1])
        return curves.curves_of_seed(*arguments)

    monkeypatch.setattr(learning, "curves_of_seed", until)
    with pytest.raises(KeyboardInterrupt):
        run(files, tmp_path / "l.parquet")
    assert not (tmp_path / "l.parquet").exists()
    again = []
    monkeypatch.setattr(learning, "curves_of_seed", lambda *a: again.append(a[-1]) or curves.curves_of_seed(*a))
    assert run(files, tmp_path / "l.parquet").equals(whole)
    assert again == [(1, 1), (1, 2)]  # of the second representation
    assert not (tmp_path / "l.parts").exists()


def test_parts_of_other_code_or_settings_are_made_again(files, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(learning, "curves_of_seed", lambda *a: made.append(1) or curves.curves_of_seed(*a))
    monkeypatch.setattr(learning.shutil, "rmtree", lambda *_, **__: None)  # as if killed at the very end
    for code in ("a", "a", "b"):
        run(files, tmp_path / "l.parquet", code, representations=["encoder"])
    assert len(made) == 6


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ({"kind": "generation"}, "its answers are generated"),
        ({"choices": ["A", "B", "C"]}, r"its choices \(A, B, C\) are letters of options"),
        ({"seen": 1}, "all its rows have one label"),
        ({"further": 30}, "only 30 rows are neither candidates nor items: a pool of 20 with a test set of 10, and 26"),
    ],
)
def test_data_without_classes_or_rows_has_no_curves_and_says_why(tmp_path, caplog, made, reason):
    with caplog.at_level(logging.INFO, "iclscope"):
        assert run(write(tmp_path, **made), tmp_path / "l.parquet").is_empty()
    assert caplog.text.count("no learning curves: ") == 1
    assert re.search(reason, caplog.text)
    assert re.search(reason, read_provenance(tmp_path / "l.parquet")["reason"])


def test_vectors_that_are_all_the_same_have_no_curves(files, tmp_path):
    assert run(files, tmp_path / "l.parquet", representations=["layer_0"]).is_empty()
    assert read_provenance(tmp_path / "l.parquet")["reason"] == "in every representation all vectors are the same"


def test_an_empty_label_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"^learning: a choice of the task is empty"):
        run(write(tmp_path, choices=["ant", " "]), tmp_path / "l.parquet")


def test_a_representation_that_is_not_there_is_refused(files, tmp_path):
    with pytest.raises(StudyError, match=r"^learning\.representations: layer_9 is none of encoder, layer_0, layer_3"):
        run(files, tmp_path / "l.parquet", representations=["layer_9"])
