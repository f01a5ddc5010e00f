"""The digest of a stage's code changes with behaviour and with nothing else; records say where a result came from."""

import ast
import hashlib
import json
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iclscope import provenance
from iclscope.provenance import SCRIPTS, code_digest, digest

# A small package: the stage imports a module of its own name, that one another, and so on.
FILES = {
    "quality.py": """
        from iclscope import quality
        from iclscope.jobs import job

        with job(snakemake):
            quality.run(snakemake.input[0])
        """,
    "iclscope/__init__.py": '"""The package."""',
    "iclscope/quality.py": '''
        """Quality of candidates."""

        import json

        import numpy as np

        from iclscope.errors import StudyError
        from iclscope.logs import progress
        from iclscope.reliability import alpha
        from iclscope.tables import QUALITY


        def run(path, halves=200):
            """Read, compute, write."""
            from iclscope import lazy

            template = "pages"
            return lazy.load(path)[:halves], alpha, QUALITY, template
        ''',
    "iclscope/reliability.py": """
        import iclscope.resampling


        class Alpha:
            def value(self, scores):
                return iclscope.resampling.draw(scores) * 2


        def alpha(scores):
            return Alpha().value(scores)
        """,
    "iclscope/resampling.py": "def draw(scores):\n    return scores[0]\n",
    "iclscope/lazy.py": "def load(path):\n    return [path]\n",
    "iclscope/unused.py": "def other():\n    return 1\n",
    "iclscope/errors.py": "class StudyError(Exception):\n    pass\n",
    "iclscope/logs.py": "def progress(values):\n    return values\n",
    "iclscope/jobs.py": "from iclscope import provenance\n\n\ndef job(snakemake):\n    return provenance\n",
    "iclscope/provenance.py": "from iclscope import unused\n",
    "iclscope/tables.py": '''
        """Tables."""


        class Table:
            """A table."""

            def __init__(self, name, columns):
                self.columns = _sorted(columns)


        def _sorted(columns):
            return sorted(columns)


        _TARGET = "target"
        _UNUSED = "unused"

        QUALITY = Table("quality", [_TARGET, "value"])
        METRICS = Table("metrics", [_UNUSED])


        def read_provenance(path):
            return path
        ''',
    "iclscope/pages/report.html": "<h1>Report</h1>",
    "iclscope/notes/todo.txt": "nothing",
}


@pytest.fixture
def scripts(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
    return tmp_path


def replace(scripts, name, old, new):
    path = scripts / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


QUALITY = "iclscope/quality.py"
TABLES = "iclscope/tables.py"
SAME = {
    "a comment": (QUALITY, "import json\n", "import json  # for the record\n"),
    "a docstring": (QUALITY, '"""Read, compute, write."""', '"""Write."""'),
    "a docstring taken out": (QUALITY, '    """Read, compute, write."""\n', ""),
    "the module's docstring": (QUALITY, '"""Quality of candidates."""', '"""Quality,\n\nat length."""'),
    "a class's new docstring": ("iclscope/reliability.py", "class Alpha:\n", 'class Alpha:\n    """Cronbach."""\n\n'),
    "empty lines": (QUALITY, "import json\n", "import json\n\n\n"),
    "quotes": (QUALITY, 'template = "pages"', "template = 'pages'"),
    "line breaks": (QUALITY, "def run(path, halves=200):", "def run(\n    path,\n    halves=200,\n):"),
    "parentheses": ("iclscope/reliability.py", "(scores) * 2", "(scores) * (2)"),
    "digits written otherwise": (QUALITY, "200", "2_00"),
    "a comment in the script": ("quality.py", "with job", "# go\nwith job"),
    "a comment in a declaration": (TABLES, '_TARGET = "target"', '_TARGET = "target"  # of a quality'),
    "a docstring in a declaration": (TABLES, '"""A table."""', '"""A declared table."""'),
    "a module that is not imported": ("iclscope/unused.py", "return 1", "return 2"),
    "errors": ("iclscope/errors.py", "pass", "sentence = 1"),
    "logs": ("iclscope/logs.py", "return values", "return list(values)"),
    "jobs": ("iclscope/jobs.py", "return provenance", "return 1"),
    "provenance": ("iclscope/provenance.py", "unused", "lazy"),
    "another table": (TABLES, '"metrics", [_UNUSED]', '"metrics", [_UNUSED, "value"]'),
    "a part of another table": (TABLES, '_UNUSED = "unused"', '_UNUSED = "layer"'),
    "a function of tables that is not imported": (TABLES, "return path", "return str(path)"),
    "a folder that no module names": ("iclscope/notes/todo.txt", "nothing", "much"),
}
OTHER = {
    "the script": ("quality.py", "input[0]", "input[1]"),
    "the module of the script's name": (QUALITY, "[:halves]", "[halves:]"),
    "a default": (QUALITY, "halves=200", "halves=100"),
    "a string that is no docstring": (QUALITY, 'template = "pages"', 'template = "page"'),
    "a module it imports": ("iclscope/reliability.py", "* 2", "* 3"),
    "a module that one imports": ("iclscope/resampling.py", "scores[0]", "scores[1]"),
    "a module imported inside a function": ("iclscope/lazy.py", "[path]", "[path, path]"),
    "an operator": ("iclscope/reliability.py", "* 2", "+ 2"),
    "its table": (TABLES, '[_TARGET, "value"]', '[_TARGET, "score"]'),
    "a part of its table": (TABLES, '_TARGET = "target"', '_TARGET = "quality"'),
    "the class of its table": (TABLES, "self.columns =", "self.names ="),
    "a function that this class uses": (TABLES, "sorted(columns)\n\n\n_T", "list(columns)\n\n\n_T"),
    "a file of a folder it names": ("iclscope/pages/report.html", "Report", "Results"),
}


@pytest.mark.parametrize(("name", "old", "new"), SAME.values(), ids=SAME)
def test_does_not_change_with(scripts, name, old, new):
    before = code_digest("quality", scripts)
    replace(scripts, name, old, new)
    assert code_digest("quality", scripts) == before


@pytest.mark.parametrize(("name", "old", "new"), OTHER.values(), ids=OTHER)
def test_changes_with(scripts, name, old, new):
    before = code_digest("quality", scripts)
    replace(scripts, name, old, new)
    assert code_digest("quality", scripts) != before


def test_changes_with_a_new_file_in_a_named_folder(scripts):
    before = code_digest("quality", scripts)
    (scripts / "iclscope/pages/index.html").write_text("<p>")
    assert code_digest("quality", scripts) != before


def test_changes_with_a_new_import(scripts):
    before = code_digest("quality", scripts)
    replace(scripts, QUALITY, "import json\n", "import json\nimport math\n")
    assert code_digest("quality", scripts) != before


def test_follows_modules_that_import_each_other(scripts):
    replace(scripts, "iclscope/resampling.py", "def draw", "from iclscope.reliability import alpha\n\n\ndef draw")
    before = code_digest("quality", scripts)
    replace(scripts, "iclscope/resampling.py", "scores[0]", "scores[-1]")
    assert code_digest("quality", scripts) != before


def test_all_of_tables_counts_where_the_module_itself_is_imported(scripts):
    replace(scripts, "iclscope/lazy.py", "def load", "from iclscope import tables\n\n\ndef load")
    before = code_digest("quality", scripts)
    replace(scripts, TABLES, "return path", "return str(path)")
    assert code_digest("quality", scripts) != before


def test_each_stage_has_its_own(scripts):
    (scripts / "metrics.py").write_text("from iclscope import lazy\n")
    before = code_digest("metrics", scripts)
    assert before != code_digest("quality", scripts)
    replace(scripts, QUALITY, "[:halves]", "[halves:]")
    assert code_digest("metrics", scripts) == before


@pytest.mark.parametrize("script", sorted(path.stem for path in SCRIPTS.glob("*.py")))
def test_every_script_of_the_workflow_has_one(script):
    assert code_digest(script) == code_digest(script)
    assert len(code_digest(script)) == 16


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


def test_plumbing_modules_exist():
    assert all((provenance.PACKAGE / f"{name}.py").is_file() for name in provenance.PLUMBING)


def test_no_module_imports_relatively():
    """The digest follows absolute imports only."""
    for path in provenance.PACKAGE.glob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        assert not any(isinstance(node, ast.ImportFrom) and node.level for node in nodes), path
