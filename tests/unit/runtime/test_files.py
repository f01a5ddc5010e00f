"""Files and folders that appear whole or not at all, and files that know when they were changed."""

import hashlib
import resource
import stat

import pytest
from hypothesis import given, strategies as st

from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import BLANK_SEAL, atomic_file, atomic_folder, is_sealed, seal, sha256, write_text


def test_an_error_is_its_sentence():
    assert str(StudyError("config key a: use b")) == "config key a: use b"


def test_a_file_appears_with_its_folder_once_it_is_whole(tmp_path):
    path = tmp_path / "new" / "deep" / "file.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def rewrite():
        with atomic_file(path) as temporary:
            temporary.write_text("half of the new")
            raise error

    with pytest.raises(error):
        rewrite()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_replaces_the_old_one_with_all_its_files(tmp_path):
    path = tmp_path / "new" / "folder"
    for files in ({"a": "1", "old": "2"}, {"a": "3", "b": "4"}):
        with atomic_folder(path) as temporary:
            for name, text in files.items():
                (temporary / name).write_text(text)
            (temporary / "inner").mkdir()
            (temporary / "inner" / "c").write_text("5")
    assert {p.name for p in path.iterdir()} == {"a", "b", "inner"}
    assert (path / "a").read_text() == "3"
    assert (path / "inner" / "c").read_text() == "5"
    assert list(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "a").write_text("old")

    def rewrite():
        with atomic_folder(path) as temporary:
            (temporary / "a").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        rewrite()
    assert (path / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_jobs_left_is_swept_when_the_file_is_written_anew(tmp_path):
    (tmp_path / ".a.txt.x1y2.part").write_text("half")
    (tmp_path / ".a.folder.x1y2.part").mkdir()
    (tmp_path / ".a.folder.x1y2.part" / "inner").write_text("half")
    other = tmp_path / ".b.txt.x1y2.part"
    other.write_text("of a job at work")
    write_text(tmp_path / "a.txt", "whole")
    with atomic_folder(tmp_path / "a.folder"):
        pass
    assert set(tmp_path.iterdir()) == {tmp_path / "a.txt", tmp_path / "a.folder", other}


@pytest.mark.parametrize("size", [0, 1, 40_000])
def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_else(tmp_path, size):
    path = tmp_path / "file.txt"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_text(path, "new" * 20_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_written_as_utf8(tmp_path):
    path = tmp_path / "text"
    write_text(path, "ρ ≤ 0.33 🐳\n")
    assert path.read_bytes() == "ρ ≤ 0.33 🐳\n".encode()


def test_sha256_of_a_published_example(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")  # FIPS 180-4, appendix B.1
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


BYTES = st.binary(max_size=40).filter(lambda content: b"iclscope" not in content)


@given(before=BYTES, after=BYTES, data=st.data())
def test_a_sealed_file_notices_any_change(tmp_path_factory, before, after, data):
    path = tmp_path_factory.mktemp("sealed") / "file"
    path.write_bytes(before + BLANK_SEAL + after)
    assert not is_sealed(path)
    seal(path)
    whole = path.read_bytes()
    assert is_sealed(path)
    assert whole.startswith(before)
    assert whole.endswith(after)
    assert len(whole) == len(before + BLANK_SEAL + after)

    place = data.draw(st.integers(0, len(whole) - 1))
    other = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
    for changed in (whole[:place] + other + whole[place + 1 :], whole[:place], whole + other):
        path.write_bytes(changed)
        assert not is_sealed(path)


@pytest.mark.parametrize("content", [b"", b"short", b"no seal " * 50, hashlib.sha256(b"").hexdigest().encode()])
def test_a_file_without_a_seal_is_not_sealed(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not is_sealed(path)
    with pytest.raises(ValueError, match="no blank seal"):
        seal(path)
    assert path.read_bytes() == content
