"""A job around a stage: log, provenance, and errors told so that a user can act."""

import hashlib
from types import SimpleNamespace

import pytest
from snakemake.iocontainers import InputFiles, Log, Params

from iclscope.errors import StudyError
from iclscope.jobs import job


@pytest.fixture
def snakemake(tmp_path):
    """What Snakemake hands to a script, as far as jobs look at it."""
    source = tmp_path / "pool.parquet"
    source.write_bytes(b"pool")
    return SimpleNamespace(
        log=Log([str(tmp_path / "logs" / "quality" / "a.log")]),
        params=Params(fromdict={"settings": {"targets": ["gain"]}, "code": "0123"}),
        input=InputFiles(fromdict={"pool": str(source), "model": str(tmp_path / "not-there")}),
        config={"seed": 11},
        rule="quality",
    )


def logged(snakemake):
    with open(snakemake.log[0], encoding="utf-8") as file:
        return file.read()


def test_yields_the_provenance_of_the_outputs(snakemake):
    with job(snakemake) as provenance:
        pass
    assert provenance["settings"] == {"targets": ["gain"]}
    assert provenance["seed"] == 11
    assert provenance["inputs"] == {snakemake.input.pool: hashlib.sha256(b"pool").hexdigest()}
    assert logged(snakemake) == ""


def test_a_rule_without_settings(snakemake):
    snakemake.params = Params(fromdict={"code": "0123"})
    with job(snakemake) as provenance:
        assert provenance["settings"] is None


def test_a_mistake_of_the_user_is_one_sentence(snakemake, capsys):
    sentence = "datasets.boolq.candidates: 99 are asked for, but only 9 rows are left"

    def work():
        try:
            raise KeyError("candidates")
        except KeyError as error:
            raise StudyError(sentence) from error

    with pytest.raises(SystemExit) as end, job(snakemake):
        work()
    assert end.value.code == 1
    assert capsys.readouterr().err == f"ERROR: {sentence}\n"
    (line,) = logged(snakemake).splitlines()
    assert line.endswith(sentence)


def test_an_unexpected_error_keeps_its_traceback(snakemake):
    def deep_inside():
        raise ZeroDivisionError("no items")

    with pytest.raises(ZeroDivisionError, match="no items"), job(snakemake):
        deep_inside()
    text = logged(snakemake)
    assert "rule quality failed" in text
    assert "Traceback" in text
    assert "in deep_inside" in text
    assert "ZeroDivisionError: no items" in text


def test_an_interruption_is_left_alone(snakemake, capsys):
    with pytest.raises(KeyboardInterrupt), job(snakemake):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == ""
