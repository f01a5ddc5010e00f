"""The digest of a rule's code changes with behaviour and with nothing else, wherever that stands."""

import ast
import shutil
import textwrap

import pytest

from iclscope.runtime.code_digest import PACKAGE, PLUMBING, SCRIPTS, of_scripts
from iclscope.runtime.code_digest import of_script as code_digest
from iclscope.runtime.errors import StudyError

# A small package: the stage imports a module of its own name, that one others, in rooms and beside them.
FILES = {
    "quality.py": """
        from iclscope import checks, quality
        from iclscope.runtime import jobs
        from iclscope.runtime.jobs import job

        with job(snakemake):
            check = jobs.only_refuses(checks.strict)
            quality.run(snakemake.input[0])
        """,
    "iclscope/__init__.py": '"""The package."""\n\n__version__ = "1"',
    "iclscope/quality.py": '''
        """Quality of candidates."""

        import logging

        import numpy as np

        import iclscope
        from iclscope.runtime import logs
        from iclscope import report
        from iclscope.engine import choices
        from iclscope.reliability import alpha
        from iclscope.runtime.errors import StudyError
        from iclscope.tables import QUALITY

        logger = logging.getLogger(__name__)


        def run(path: str, halves=200) -> list:
            """Read, compute, write."""
            from iclscope import lazy

            logger.info("reads %s", path)
            if halves < 2:
                raise StudyError(f"{path}: {halves} halves are too few; take {explained()}")
            logs.tell("done")
            values = lazy.load(path)[:halves]
            margin = choices.MARGINS["median"]
            return values, alpha, QUALITY, report.render("quality"), margin, np.mean, iclscope.__doc__


        def explained():
            return "two"


        def unused():
            return explained()
        ''',
    "iclscope/reliability.py": """
        import iclscope.resampling


        class Alpha:
            divisor: int = 1

            def value(self, scores):
                return iclscope.resampling.draw(scores) * 2


        def alpha(scores):
            return Alpha().value(scores)
        """,
    "iclscope/resampling.py": """
        def draw(scores):
            scores = [scores for scores in scores]
            return scores[0]


        def scores():
            return 1
        """,
    "iclscope/engine/__init__.py": '"""Models."""',
    "iclscope/engine/choices.py": """
        from iclscope.engine import extra

        MARGINS = {}


        def margin(function):
            MARGINS[function.__name__] = function
            return function


        @margin
        def median(values):
            return _half(values)


        def _half(values):
            return sorted(values)[len(values) // 2]


        MARGINS["largest"] = max
        """,
    "iclscope/engine/extra.py": """
        from iclscope.engine.choices import margin


        @margin
        def mean(values):
            return sum(values) / len(values)
        """,
    "iclscope/report.py": """
        from pathlib import Path

        ASSETS = ("pages",)


        def render(name):
            return Path(__file__).parent / ASSETS[0] / name
        """,
    "iclscope/checks.py": "def strict(x):\n    raise ValueError\n\n\ndef lax(x):\n    pass\n",
    "iclscope/lazy.py": "def load(path):\n    return [path]\n",
    "iclscope/alone.py": "def other():\n    return 1\n",
    "iclscope/runtime/errors.py": "class StudyError(Exception):\n    pass\n",
    "iclscope/runtime/logs.py": "def tell(line):\n    return line\n",
    "iclscope/runtime/jobs.py": """
        from iclscope.runtime import files


        def job(snakemake):
            return files


        def only_refuses(check):
            return check
        """,
    "iclscope/runtime/files.py": "from iclscope import alone\n",
    "iclscope/tables.py": '''
        """Tables."""


        class Table:
            """A table."""

            def __init__(self, name, columns):
                self.columns = _sorted(columns)


        def _sorted(columns):
            return sorted(columns)


        _TARGET: str = "target"
        _UNUSED = "unused"

        QUALITY = Table("quality", [_TARGET, "value"])
        METRICS = Table("metrics", [_UNUSED])


        def read_provenance(path):
            return path
        ''',
    "iclscope/pages/report.html": "<h1>Report</h1>",
    "iclscope/quality_notes/todo.txt": "nothing",
    "own.py": """
        from iclscope.engine.choices import margin
        from iclscope.other_registry import entry


        @margin
        def smallest(values):
            return lowest(values)


        def lowest(values):
            return min(values)


        @entry
        def elsewhere(values):
            return 0
        """,
    "iclscope/other_registry.py": "def entry(function):\n    return function\n",
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


@pytest.mark.parametrize("script", sorted(path.stem for path in SCRIPTS.glob("*.py")))
def test_every_script_of_the_workflow_has_one(script):
    assert code_digest(script) == code_digest(script)
    assert len(code_digest(script)) == 16


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


# In each room an error that changes results: file, text, what it becomes, and scripts that it redoes and spares.
BUGS = {
    "engine": ("engine/scoring.py", "logits[0].float()", "logits[0] * 2", "evaluation_block features", "metrics pool"),
    "activations": ("activations/masks.py", "np.tri(", "np.ones(", "activations", "prepare_model evaluation_block"),
    "statistics": (
        "statistics/reliability.py",
        "wanted = ceiling**2",
        "wanted = ceiling",
        "quality",
        "evaluation_block metrics",
    ),
    "tasks": ("tasks/pool.py", "len(unusable) >", "len(unusable) <", "pool", "activations evaluation_block"),
    "sources": ("sources/gguf.py", "torch.float32", "torch.float16", "prepare_model", "activations evaluation_block"),
    "matrix": ("matrix/evaluation.py", "len(prompt.context)", "len(prompt)", "evaluation_block", "quality metrics"),
    "signals": ("signals/metrics.py", "NO_TOKENS = ", "NO_TOKENS = 1 or ", "metrics", "activations evaluation_block"),
    "selection": ("selection/selectors.py", "np.geomspace(1e-3", "np.geomspace(1e-2", "selection", "correlation"),
    "verdict": ("verdict/wording.py", "_decimals(value, 2)", "_decimals(value, 1)", "verdict page", "selection"),
    "plan": ("plan/workload.py", "return Work(sum(lengths), 0", "return Work(0, 0", "plan", "evaluation_block"),
    "report": ("report/chapters/correlation.py", "1.85", "1.95", "plots", "verdict selection"),
    "tables": (
        "tables/words.py",
        '"block index, 0 is the first"',
        '"block"',
        "activations metrics selection",
        "quality",
    ),
}


@pytest.mark.parametrize(("file", "old", "new", "redone", "spared"), BUGS.values(), ids=BUGS)
def test_an_error_in_any_room_redoes_what_it_reaches(tmp_path, file, old, new, redone, spared):
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    replace(tmp_path / "scripts", f"{PACKAGE}/{file}", old, new)
    changed = {
        name for name in f"{redone} {spared}".split() if code_digest(name) != code_digest(name, tmp_path / "scripts")
    }
    assert changed == set(redone.split())


def test_every_room_but_the_one_that_is_left_out_has_such_an_error():
    rooms = {file.parent.name for file in (SCRIPTS / PACKAGE).glob("*/*.py")}
    assert rooms - BUGS.keys() == {PLUMBING}


@pytest.mark.parametrize("script", sorted((SCRIPTS / PACKAGE).rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_imports_relatively_or_under_a_computed_name(script):
    """The digest follows absolute imports, written out, only."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    assert not any(isinstance(node, ast.ImportFrom) and node.level for node in nodes)
    calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert not calls & {"importlib.import_module", "import_module", "__import__", "globals"}
    own = {alias.asname or alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
           if (node.module or "").startswith(PACKAGE)}  # fmt: skip
    looked_up = [node.args[0] for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr"]
    assert not [place for place in looked_up if ast.unparse(place) in own]


def test_the_room_that_is_left_out_exists():
    assert (SCRIPTS / PACKAGE / PLUMBING / "code_digest.py").is_file()
