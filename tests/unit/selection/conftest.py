"""What tests of sets of demonstrations share."""

import pytest

from shot_studies import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory, tiny_model, tiny_tokenizer):
    """A folder in which the stages before sets have run, once for all tests of a file."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield Study(folder, tiny_model, tiny_tokenizer)
