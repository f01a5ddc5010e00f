"""Records say where a result came from; digests of settings follow their content."""

import hashlib
import json

from hypothesis import given, strategies as st

from iclscope.runtime import provenance
from iclscope.runtime.provenance import digest

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
SETTINGS = st.dictionaries(st.text(), LEAVES | st.lists(LEAVES) | st.dictionaries(st.text(), LEAVES), max_size=4)


class TestDigest:
    @given(SETTINGS)
    def test_is_that_of_the_json_text(self, value):
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
        assert digest(value) == hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]

    def test_ignores_the_order_of_keys_but_not_of_lists(self):
        assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        assert digest([1, 2]) != digest([2, 1])
        assert digest({"a": 1}) != digest({"a": 2})


class TestRecord:
    def test_names_settings_seed_and_the_checksum_of_every_input_file(self, tmp_path):
        (tmp_path / "a").write_bytes(b"abc")
        record = provenance.of_file({"k": 5}, [str(tmp_path / "a"), str(tmp_path), tmp_path / "missing"], seed=3)
        assert record["settings"] == {"k": 5}
        assert record["settings_digest"] == digest({"k": 5})
        assert record["seed"] == 3
        assert record["inputs"] == {str(tmp_path / "a"): hashlib.sha256(b"abc").hexdigest()}

    def test_is_json_and_the_same_again(self, tmp_path):
        (tmp_path / "a").write_bytes(b"abc")
        first, second = (provenance.of_file(None, [tmp_path / "a"]) for _ in range(2))
        assert json.dumps(first) == json.dumps(second)

    def test_names_the_versions_that_shape_results(self):
        import numpy
        import polars

        versions = provenance.versions()
        assert versions["numpy"] == numpy.__version__
        assert versions["polars"] == polars.__version__
        assert versions["python"].startswith("3.")
        assert set(versions) == {"python", *provenance.LIBRARIES}

    def test_names_the_commit_or_says_that_it_is_unknown(self):
        commit = provenance.git_commit().removesuffix("+changes")
        assert commit == "unknown" or (len(commit) == 40 and int(commit, 16))
