"""A small package of stages, whose digests the tests follow. Fixtures."""

import textwrap

import pytest

from package_of_digests import FILES


@pytest.fixture
def scripts(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
    return tmp_path
