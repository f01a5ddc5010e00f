"""What the tests of prepared models and of prepared data share."""

import json

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
