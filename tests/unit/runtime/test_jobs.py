"""A job around a stage: log, provenance, and errors told so that a user can act."""

import errno
import hashlib
import re
import resource
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from snakemake.iocontainers import InputFiles, Log, Params, Wildcards

from iclscope.activations import masks
from iclscope.runtime import jobs
from iclscope.runtime.configuration import task_files
from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import atomic_file
from iclscope.runtime.jobs import job


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
        scriptdir=str(tmp_path / "workflow/scripts"),
    )


def logged(snakemake):
    with open(snakemake.log[0], encoding="utf-8") as file:
        return file.read()


def test_yields_the_provenance_of_the_outputs(snakemake):
    with job(snakemake) as made:
        pass
    assert made.provenance["settings"] == {"targets": ["gain"]}
    assert made.provenance["seed"] == 11
    assert made.provenance["inputs"] == {snakemake.input.pool: hashlib.sha256(b"pool").hexdigest()}
    assert logged(snakemake) == ""


def test_a_rule_without_settings(snakemake):
    snakemake.params = Params(fromdict={"code": "0123"})
    with job(snakemake) as made:
        assert made.provenance["settings"] is None


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


def wrapped(error):
    """An error as a library hands it on."""
    try:
        raise error
    except type(error) as inner:
        outer = RuntimeError("cannot save")
        outer.__cause__ = inner
        return outer


FULL = OSError(errno.ENOSPC, "No space left on device", "results/a.parquet")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (FULL, r"no space is left for its output \(.*results/a\.parquet.*\); free some"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "no space is left"),
        (wrapped(FULL), "no space is left"),
        (ValueError("I/O error: No space left on device (os error 28)"), "no space is left"),
        (MemoryError(), r"memory is not enough \(MemoryError\); lower batch_tokens"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0"), "CUDA out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"), "can't allocate"),
    ],
    ids=["disk", "quota", "disk behind another error", "disk in words", "memory", "GPU memory", "CPU memory"],
)
def test_a_full_disk_or_memory_is_one_sentence_with_its_traceback_in_the_log(snakemake, capsys, error, sentence):
    with pytest.raises(SystemExit) as end, job(snakemake):
        raise error
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(rf"ERROR: rule quality: .*{sentence}", line)
    assert "Traceback" in logged(snakemake)


def test_memory_that_the_system_refuses_is_told(snakemake, capsys):
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**40, limits[1]))
    try:
        with pytest.raises(SystemExit), job(snakemake):
            torch.empty(2**42, dtype=torch.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert "memory is not enough" in capsys.readouterr().err


def test_a_job_that_is_asked_to_end_takes_its_unfinished_files_away(snakemake, tmp_path):
    before = signal.getsignal(signal.SIGTERM)

    def work():
        with job(snakemake), atomic_file(tmp_path / "out") as temporary:
            temporary.write_text("half")
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as end:
        work()
    assert end.value.code == 143
    assert not list(tmp_path.glob("*out*"))
    assert signal.getsignal(signal.SIGTERM) is before


class TestExtensions:
    """Functions of the study's own are registered where the stage may use them, and are blamed for their errors."""

    @pytest.fixture
    def own(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        file = tmp_path / "config/extensions/own.py"
        file.parent.mkdir(parents=True)
        return file

    @pytest.fixture(autouse=True)
    def _registry(self, monkeypatch):
        monkeypatch.setattr(masks, "MASKS", dict(masks.MASKS))

    @staticmethod
    def mask(body, after=""):
        return f"from iclscope.activations.masks import causal, mask\n\n@mask\ndef near(s):\n    {body}\n\n{after}\n"

    def test_are_registered_where_their_registry_is_loaded(self, snakemake, own):
        own.write_text(self.mask("return causal(s)"))
        with job(snakemake):
            assert "near" in masks.MASKS

    def test_are_left_alone_where_it_is_not(self, snakemake, own, monkeypatch):
        monkeypatch.delitem(sys.modules, "iclscope.activations.masks")
        own.write_text(self.mask("pass", after="missing()"))
        with job(snakemake):
            pass

    def test_that_cannot_be_loaded_name_file_and_line(self, snakemake, own):
        own.write_text(self.mask("pass", after="missing()"))
        with pytest.raises(SystemExit), job(snakemake):
            pass
        assert f"{own}, line 7: NameError: name 'missing' is not defined; mend the file" in logged(snakemake)

    def test_that_fail_at_work_name_file_and_line(self, snakemake, own):
        own.write_text(self.mask("return 1 / s"))
        with pytest.raises(SystemExit), job(snakemake):
            masks.MASKS["near"](0)
        assert f"rule quality: {own}, line 5: ZeroDivisionError: division by zero; mend the file" in logged(snakemake)


def test_yields_the_seed_that_the_rule_names(snakemake):
    with job(snakemake) as made:
        assert made.seed is None
    snakemake.params = Params(fromdict={"seed": 11})
    with job(snakemake) as made:
        assert made.seed == 11


def test_a_number_that_shapes_the_outputs_stands_in_their_provenance(snakemake):
    snakemake.params = Params(fromdict={"size": 64})
    with job(snakemake, settings=64) as made:
        assert made.provenance["settings"] == 64


@pytest.fixture
def of_data_set(tmp_path):
    """A job with a model and the task of a data set."""
    return SimpleNamespace(
        scriptdir=str(tmp_path / "workflow/scripts"),
        wildcards=Wildcards(fromdict={"model": "tiny", "dataset": "animals"}),
        params=Params(fromdict={"settings": {"task": "boolq", "top_k": 3}, "dtype": "bfloat16"}),
        input=InputFiles(fromdict={"model": "resources/models/tiny/source.json"}),
        config={"device": "cpu", "activations": {"top_k": 8, "batch_tokens": 64}},
    )


def test_a_prepared_model_is_its_folder_precision_and_device(of_data_set):
    model = jobs.prepared_model(of_data_set)
    assert model == jobs.PreparedModel(Path("resources/models/tiny"), "bfloat16", "cpu")
    assert model.name == "tiny"


def test_a_task_knows_the_key_of_its_data_set(of_data_set):
    name, folder, key = jobs.task(of_data_set)
    assert (name, key) == ("boolq", "datasets.animals")
    assert folder == task_files.folder("boolq")


def test_a_section_has_what_shapes_the_outputs_and_what_does_not(of_data_set):
    of_data_set.params = Params(fromdict={"settings": {"top_k": 3}})
    assert jobs.section(of_data_set, "activations") == {"top_k": 3, "batch_tokens": 64}


def test_names_and_files_go_together_in_their_order():
    assert jobs.by_name(["b", "a"], ["1", "2"]) == {"b": "1", "a": "2"}
    assert list(jobs.by_name(["b", "a"], ["1", "2"])) == ["b", "a"]
    with pytest.raises(ValueError, match="shorter"):
        jobs.by_name(["b", "a"], ["1"])
    files = ["results/x/self_only.parquet", "results/x/causal.parquet"]
    assert list(jobs.by_stem(files).items()) == [("self_only", files[0]), ("causal", files[1])]
