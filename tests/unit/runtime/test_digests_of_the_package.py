"""Digests of the real stages are whole: an error planted in any room redoes what it reaches."""

import ast
import shutil

import pytest

from iclscope.runtime.code_digest import PACKAGE, PLUMBING, SCRIPTS, of_script as code_digest
from package_of_digests import replace


@pytest.mark.parametrize("script", sorted(path.stem for path in SCRIPTS.glob("*.py")))
def test_every_script_of_the_workflow_has_one(script):
    assert code_digest(script) == code_digest(script)
    assert len(code_digest(script)) == 16


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
    "saes": ("saes/training.py", "_RATE = 3e-3", "_RATE = 4e-3", "train_sae", "evaluation_block sae_metrics"),
    "signals": ("signals/metrics.py", "NO_TOKENS = ", "NO_TOKENS = 1 or ", "metrics", "activations evaluation_block"),
    "selection": ("selection/selectors.py", "np.geomspace(1e-3", "np.geomspace(1e-2", "selection", "correlation"),
    "labelling": ("labelling/classifier.py", "C = 1.0", "C = 2.0", "learning", "selection learning_summary"),
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
