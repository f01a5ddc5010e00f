"""The digest of a rule's code changes with behaviour and with nothing else, wherever that stands."""

import ast
import shutil

import pytest

from iclscope.runtime import code_digest as code_digest_module
from iclscope.runtime.code_digest import of_script as code_digest, of_scripts
from iclscope.runtime.errors import StudyError
from package_of_digests import replace

QUALITY = "iclscope/quality.py"

TABLES = "iclscope/tables.py"

CHOICES = "iclscope/engine/choices.py"

SAME = {
    "a check that only refuses": ("quality.py", "checks.strict", "checks.lax"),
    "what such a check does": ("iclscope/checks.py", "raise ValueError", "raise KeyError"),
    "a comment": (QUALITY, "import logging\n", "import logging  # for the record\n"),
    "a docstring": (QUALITY, '"""Read, compute, write."""', '"""Write."""'),
    "a docstring taken out": (QUALITY, '    """Read, compute, write."""\n', ""),
    "the module's docstring": (QUALITY, '"""Quality of candidates."""', '"""Quality,\n\nat length."""'),
    "a class's new docstring": ("iclscope/reliability.py", "class Alpha:\n", 'class Alpha:\n    """Cronbach."""\n\n'),
    "empty lines": (QUALITY, "import logging\n", "import logging\n\n\n"),
    "quotes": (QUALITY, '"median"', "'median'"),
    "line breaks": (QUALITY, "def run(path: str, halves=200)", "def run(\n    path: str,\n    halves=200,\n)"),
    "parentheses": ("iclscope/reliability.py", "(scores) * 2", "(scores) * (2)"),
    "digits written otherwise": (QUALITY, "200", "2_00"),
    "a comment in the script": ("quality.py", "with job", "# go\nwith job"),
    "a comment in a declaration": (TABLES, '_TARGET: str = "target"', '_TARGET: str = "target"  # of a quality'),
    "a docstring in a declaration": (TABLES, '"""A table."""', '"""A declared table."""'),
    "the text of a log line": (QUALITY, '"reads %s", path', '"begins to read %s, which may take a while", path'),
    "a log line more": (QUALITY, 'logs.tell("done")', 'logs.tell("done")\n    logger.warning("slow")'),
    "a log line less": (QUALITY, '    logs.tell("done")\n', ""),
    "the sentence of an error": (QUALITY, "are too few; take {explained()}", "do not do; take {len(path)}"),
    "what only that sentence calls": (QUALITY, 'return "two"', 'return "three"'),
    "an annotation": (QUALITY, "path: str, halves=200) -> list", "path: bytes, halves: int = 200) -> tuple"),
    "an annotation of a constant": (TABLES, "_TARGET: str", "_TARGET"),
    "a definition that is not used": (QUALITY, "return explained()", "return 0"),
    "an import that is not used": (QUALITY, "import logging\n", "import logging\nimport math\n"),
    "another name for an import": (QUALITY, "numpy as np", "numpy as numbers"),
    "a module that is not imported": ("iclscope/alone.py", "return 1", "return 2"),
    "errors": ("iclscope/runtime/errors.py", "pass", "sentence = 1"),
    "logs": ("iclscope/runtime/logs.py", "return line", "return list(line)"),
    "jobs": ("iclscope/runtime/jobs.py", "return files", "return 1"),
    "files": ("iclscope/runtime/files.py", "alone", "lazy"),
    "another table": (TABLES, '"metrics", [_UNUSED]', '"metrics", [_UNUSED, "value"]'),
    "a part of another table": (TABLES, '_UNUSED = "unused"', '_UNUSED = "layer"'),
    "a function of tables that is not imported": (TABLES, "return path", "return str(path)"),
    "what a local name hides": ("iclscope/resampling.py", "return 1", "return 2"),
    "a folder whose name stands in a string": ("iclscope/quality_notes/todo.txt", "nothing", "much"),
}

OTHER = {
    "the script": ("quality.py", "input[0]", "input[1]"),
    "the module of the script's name": (QUALITY, "[:halves]", "[halves:]"),
    "a default": (QUALITY, "halves=200", "halves=100"),
    "the order of parameters": (QUALITY, "path: str, halves=200", "halves=200, path=None"),
    "a string that is no docstring": (QUALITY, 'render("quality")', 'render("page")'),
    "when an error is raised": (QUALITY, "halves < 2", "halves < 3"),
    "which error is raised": (QUALITY, "raise StudyError(", "raise ValueError("),
    "another library's function": (QUALITY, "import numpy as np", "import scipy as np"),
    "a module it imports": ("iclscope/reliability.py", "* 2", "* 3"),
    "a field of a class": ("iclscope/reliability.py", "divisor: int = 1", "divisor: float = 1"),
    "a module that one imports": ("iclscope/resampling.py", "scores[0]", "scores[1]"),
    "a module imported inside a function": ("iclscope/lazy.py", "[path]", "[path, path]"),
    "an operator": ("iclscope/reliability.py", "* 2", "+ 2"),
    "its table": (TABLES, '[_TARGET, "value"]', '[_TARGET, "score"]'),
    "a part of its table": (TABLES, '_TARGET: str = "target"', '_TARGET: str = "quality"'),
    "the class of its table": (TABLES, "self.columns =", "self.names ="),
    "a function that this class uses": (TABLES, "sorted(columns)\n\n\n_T", "list(columns)\n\n\n_T"),
    "a registered function": (CHOICES, "_half(values)\n\n\ndef", "-_half(values)\n\n\ndef"),
    "what a registered function uses": (CHOICES, "// 2", "// 3"),
    "a registry's entry": (CHOICES, '"largest"] = max', '"largest"] = min'),
    "a new registered function": (CHOICES, "def _half", "@margin\ndef first(v):\n    return v[0]\n\n\ndef _half"),
    "what is imported to be registered": ("iclscope/engine/extra.py", "sum(values) /", "sum(values) -"),
    "a file of a folder it names": ("iclscope/pages/report.html", "Report", "Results"),
    "the docstring of the package, which a page shows": ("iclscope/__init__.py", "The package.", "A package."),
}


@pytest.mark.parametrize(("name", "old", "new"), SAME.values(), ids=SAME)
def test_does_not_change_with(scripts, name, old, new):
    before = code_digest("quality", scripts)
    replace(scripts, name, old, new)
    if "another name" in new or "numbers" in new:
        replace(scripts, name, "np.mean", "numbers.mean")
    assert code_digest("quality", scripts) == before


@pytest.mark.parametrize(("name", "old", "new"), OTHER.values(), ids=OTHER)
def test_changes_with(scripts, name, old, new):
    before = code_digest("quality", scripts)
    replace(scripts, name, old, new)
    assert code_digest("quality", scripts) != before


def test_does_not_change_with_the_time_of_a_file(scripts):
    before = code_digest("quality", scripts)
    for file in scripts.rglob("*.py"):
        file.touch()
    assert code_digest("quality", scripts) == before


def test_is_the_same_where_python_writes_type_parameters(scripts, monkeypatch):
    before = code_digest("quality", scripts)
    for kind in (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef):  # as before and from 3.12 on
        fields = [field for field in kind._fields if field != "type_params"]
        monkeypatch.setattr(kind, "_fields", (*fields, *{"type_params"}.difference(kind._fields)))
        monkeypatch.setattr(kind, "type_params", [], raising=False)
    code_digest_module._parsed.cache_clear()
    assert code_digest("quality", scripts) == before


def test_does_not_change_with_a_module_that_moves_and_is_renamed(scripts):
    before = code_digest("quality", scripts)
    (scripts / "iclscope/statistics").mkdir()
    shutil.move(scripts / "iclscope/reliability.py", scripts / "iclscope/statistics/agreement.py")
    replace(scripts, QUALITY, "from iclscope.reliability import", "from iclscope.statistics.agreement import")
    shutil.move(scripts / "iclscope/engine/choices.py", scripts / "iclscope/options.py")
    replace(scripts, "iclscope/engine/extra.py", "iclscope.engine.choices", "iclscope.options")
    replace(scripts, QUALITY, "from iclscope.engine import choices", "from iclscope import options")
    replace(scripts, QUALITY, "choices.MARGINS", "options.MARGINS")
    assert code_digest("quality", scripts) == before


def test_does_not_change_with_a_definition_that_moves(scripts):
    before = code_digest("quality", scripts)
    (scripts / "iclscope/drawing.py").write_text((scripts / "iclscope/resampling.py").read_text())
    (scripts / "iclscope/resampling.py").write_text("")
    replace(scripts, "iclscope/reliability.py", "import iclscope.resampling", "from iclscope.drawing import draw")
    replace(scripts, "iclscope/reliability.py", "iclscope.resampling.draw(scores)", "draw(scores)")
    assert code_digest("quality", scripts) == before


def test_tells_definitions_of_one_name_apart(scripts):
    (scripts / "iclscope/other.py").write_text("def load(path):\n    return []\n")
    replace(scripts, QUALITY, "import lazy", "import lazy, other")
    replace(scripts, QUALITY, "lazy.load(path)", "(other.load, lazy.load(path))")
    before = code_digest("quality", scripts)
    replace(scripts, QUALITY, "other.load, lazy.load(path)", "lazy.load, other.load(path)")
    assert code_digest("quality", scripts) != before


def test_changes_with_a_new_file_in_a_named_folder(scripts):
    before = code_digest("quality", scripts)
    (scripts / "iclscope/pages/index.html").write_text("<p>")
    assert code_digest("quality", scripts) != before


def test_follows_modules_that_import_each_other(scripts):
    replace(scripts, "iclscope/resampling.py", "def draw", "from iclscope.reliability import alpha\n\n\ndef draw")
    before = code_digest("quality", scripts)
    replace(scripts, "iclscope/resampling.py", "scores[0]", "scores[-1]")
    assert code_digest("quality", scripts) != before


def test_all_of_a_module_counts_where_it_is_used_as_a_whole(scripts):
    replace(scripts, "iclscope/lazy.py", "return [path]", "return [path, tables]")
    replace(scripts, "iclscope/lazy.py", "def load", "from iclscope import tables\n\n\ndef load")
    before = code_digest("quality", scripts)
    replace(scripts, TABLES, "return path", "return str(path)")
    assert code_digest("quality", scripts) != before


@pytest.mark.parametrize(("old", "new"), [("import choices", "import options as choices"), (".MARGINS", ".NONE")])
def test_refuses_what_the_package_does_not_have(scripts, old, new):
    replace(scripts, QUALITY, old, new)
    with pytest.raises(StudyError, match=r"quality.py: iclscope.engine.*(options|NONE).* is not in the package"):
        code_digest("quality", scripts)


def test_each_stage_has_its_own(scripts):
    (scripts / "metrics.py").write_text("from iclscope import lazy\n\nlazy.load(1)\n")
    before = code_digest("metrics", scripts)
    assert before != code_digest("quality", scripts)
    replace(scripts, QUALITY, "[:halves]", "[halves:]")
    assert code_digest("metrics", scripts) == before


class TestExtension:
    """A file of the study's own counts where something in it registers itself."""

    def test_counts_for_a_stage_that_reaches_the_registry(self, scripts):
        own = [scripts / "own.py"]
        before = code_digest("quality", scripts, own)
        assert before != code_digest("quality", scripts)
        replace(scripts, "own.py", "min(values)", "min(values) + 1")
        assert code_digest("quality", scripts, own) != before

    def test_does_not_count_with_what_it_registers_elsewhere(self, scripts):
        before = code_digest("quality", scripts, [scripts / "own.py"])
        replace(scripts, "own.py", "return 0", "return 1")
        assert code_digest("quality", scripts, [scripts / "own.py"]) == before

    def test_does_not_count_for_other_stages(self, scripts):
        (scripts / "metrics.py").write_text("from iclscope import lazy\n\nlazy.load(1)\n")
        assert code_digest("metrics", scripts, [scripts / "own.py"]) == code_digest("metrics", scripts)


class TestKept:
    """The digests of all scripts are kept in a file until something that could count has changed."""

    @pytest.fixture
    def memory(self, tmp_path_factory):
        return tmp_path_factory.mktemp("memory") / "kept.json"

    @pytest.fixture
    def digests(self, scripts, memory):
        (scripts / "metrics.py").write_text("from iclscope import lazy\n\nlazy.load(1)\n")
        return lambda: of_scripts(memory, scripts, [scripts / "own.py"])

    @pytest.mark.parametrize(
        ("name", "old", "new"),
        [(QUALITY, "[:halves]", "[halves:]"), ("own.py", "min(v", "max(v"), ("iclscope/pages/report.html", "Rep", "R")],
        ids=["module", "extension", "data file"],
    )
    def test_are_those_of_the_scripts_as_they_are(self, digests, scripts, name, old, new):
        before = digests()
        replace(scripts, name, old, new)
        adapters = {script.stem for script in scripts.glob("*.py")}
        assert digests() == {script: code_digest(script, scripts, [scripts / "own.py"]) for script in adapters}
        changed = {script for script in adapters if digests()[script] != before[script]}
        assert changed & {"quality", "metrics"} == {"quality"}

    def test_are_not_made_anew_while_nothing_changes(self, digests, scripts, memory):
        first, written = digests(), memory.stat()
        for file in scripts.rglob("*.py"):
            file.touch()
        assert digests() == first
        assert memory.stat() == written

    def test_are_kept_in_a_copy_elsewhere(self, digests, scripts, memory, tmp_path):
        first, written = digests(), memory.stat()
        copy = shutil.copytree(scripts, tmp_path / "copy")
        assert of_scripts(memory, copy, [copy / "own.py"]) == first
        assert memory.stat() == written
