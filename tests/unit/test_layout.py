"""The limits that keep the package readable, and one name for one thing from the rules to the functions."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS, RULES = ROOT / "workflow/scripts", ROOT / "workflow/rules"
PACKAGE = SCRIPTS / "iclscope"
MODULES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
MOST_PARAMETERS, MOST_LINES, LONGEST_MODULE, MOST_MODULES, LONGEST_ADAPTER, LONGEST_COMMON = 7, 50, 400, 13, 12, 80

RULE = re.compile(r"^(?:rule|checkpoint|use rule (\w+) as) (\w+)(?: with)?:\n((?:[ \t].*\n|\n)+)", re.MULTILINE)
EMPTY = {"input": set(), "output": set(), "params": set(), "unnamed_output": 0}
SECTION = r"^    {}:\n((?:        .*\n)+)"

# What a value object takes from a rule, and inputs that say only what must be there before.
TAKEN = {
    "prepared_model": {"dtype"},
    "by_name": {"masks", "models"},
    "job": {"seed", "code"},
    "paths_by_study": {"models"},
}
BEFORE = {
    "blocks_needed": {"pool"},
    "features": {"encoder"},
    "encode_pool": {"encoder"},
    "fetch_sae": {"files"},
    "sae_features": {"weights"},
    "sae_features_of_both": {"weights"},
    "train_sae": {"texts"},
    "metrics": {"candidates", "model", "dtype"},
    "prepare_model": {"files"},
    "prepare_data": {"files"},
    "prepare_tokenizer": {"files"},
    "render": {"tasks"},
}


def functions(path):
    """(qualified name, node) of every function in a file, however deep."""
    found, waiting = [], [("", ast.parse(path.read_text(encoding="utf-8")))]
    while waiting:
        before, node = waiting.pop()
        for child in ast.iter_child_nodes(node):
            name = f"{before}.{child.name}".lstrip(".") if hasattr(child, "name") and child.name else before
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((name, child))
            waiting.append((name, child))
    return found


def parameters(function):
    """How many arguments a function may be given, `*` and `**` counted once; its own object does not count."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    own = bool(named) and named[0].arg in ("self", "cls")
    return len(named) - own + bool(arguments.vararg) + bool(arguments.kwarg)


@pytest.mark.parametrize("name", MODULES)
def test_functions_and_modules_stay_short(name):
    path = MODULES[name]
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE
    found = {f"{name}: {function}": node for function, node in functions(path)}
    lines = {function: node.end_lineno - node.lineno + 1 for function, node in found.items()}
    assert {function: number for function, number in lines.items() if number > MOST_LINES} == {}
    takes = {function: parameters(node) for function, node in found.items()}
    assert {function: number for function, number in takes.items() if number > MOST_PARAMETERS} == {}


def test_no_folder_holds_more_modules_than_a_reader_oversees():
    for folder in {path.parent for path in MODULES.values()}:
        assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= MOST_MODULES, folder


def test_no_function_is_named_as_its_module():
    alike = [
        name for name, path in MODULES.items() if path.stem in [f for f, _ in functions(path)] and "report/" not in name
    ]
    assert alike == []


@pytest.mark.parametrize("name", ["describe", "strongest", "findings", "correlation"])
def test_these_names_mean_one_thing(name):
    named = [module for module, path in MODULES.items() for function, _ in functions(path) if function == name]
    assert len(named) <= 1, named


ADAPTERS = {path.stem: path for path in sorted(SCRIPTS.glob("*.py"))}


def lines_of(adapter):
    return ADAPTERS[adapter].read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
def test_adapters_are_short(adapter):
    assert len(lines_of(adapter)) <= LONGEST_ADAPTER


def test_what_rules_share_is_short():
    text = (RULES / "common.smk").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_COMMON
    assert not RULE.search(text)


@cache
def rules():
    """Rule → its adapter, and the names in its sections; a rule that uses another has that one's besides its own."""
    found = {}
    included = re.findall(r'^include: "workflow/rules/(\w+\.smk)"$', (ROOT / "Snakefile").read_text(), re.MULTILINE)
    assert sorted(included) == sorted(path.name for path in RULES.glob("*.smk"))
    for file in included:  # in this order, since a rule may use one of a file before
        for base, name, text in RULE.findall((RULES / file).read_text(encoding="utf-8")):
            script = re.search(r"scripts/(\w+)\.py", text)
            known = vars(found[base]) if base else {"script": script and script[1], **EMPTY}
            found[name] = SimpleNamespace(**{**known, **names(text)})
    return {name: rule for name, rule in found.items() if rule.script}


def names(text):
    """Names in the sections that a rule has, and in `unnamed` how many entries of its output have none."""
    found = {}
    for section in ("input", "output", "params"):
        body = re.search(SECTION.format(section), text, re.MULTILINE)
        if body:
            entries = re.findall(r"^        (\*\*study\.\w+|\w+=|[\w\"])", body[1], re.MULTILINE)
            found[section] = {entry.rstrip("=") for entry in entries if entry.endswith("=")}
            found[section] |= {"**tables"} if any(entry.startswith("**") for entry in entries) else set()
            found[f"unnamed_{section}"] = sum(len(entry) == 1 for entry in entries)
    return found


# The report's take their files as one value, of all inputs.
REPORT = {"plots", "comparison", "page", "index", "explorer"}
HELD = sorted(name for name, rule in rules().items() if rule.script not in REPORT)


@pytest.mark.parametrize("rule", HELD)
def test_outputs_have_names_that_say_so(rule):
    assert rules()[rule].output
    assert all(name.endswith("_out") for name in rules()[rule].output)
    assert rules()[rule].unnamed_output == 0


@pytest.mark.parametrize("rule", HELD)
def test_settings_are_a_mapping_and_rows_of_items_have_one_name(rule):
    names = rules()[rule].input | rules()[rule].params
    assert not names & {"questions", "items"}


class Call:
    """What an adapter calls in the package: the last call of its `with` block that takes keywords, and with which."""

    def __init__(self, adapter):
        self.tree = ast.parse(ADAPTERS[adapter].read_text(encoding="utf-8"))
        (self.block,) = (node for node in self.tree.body if isinstance(node, ast.With))
        self.calls = [node for node in ast.walk(self.block) if isinstance(node, ast.Call)]
        self.helpers = {ast.unparse(node.func).rpartition(".")[2] for node in self.calls}
        self.assigned = dict(self._assigned())

    def _assigned(self):
        for node in ast.walk(self.block):
            if isinstance(node, ast.Assign):
                (target,) = node.targets
                pairs = zip(target.elts, node.value.elts, strict=True) if isinstance(target, ast.Tuple) else None
                for name, value in pairs or [(target, node.value)]:
                    yield name.id, value

    @property
    def function(self):
        """The node of the call."""
        stages = [s.value for s in self.block.body if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call)]
        return next(call for call in stages if call.keywords)

    def target(self, node):
        """The function or class that a call names."""
        for statement in self.tree.body:
            if isinstance(statement, ast.ImportFrom):
                for alias in statement.names:
                    if isinstance(node.func, ast.Attribute) and alias.name == node.func.value.id:
                        module = importlib.import_module(f"{statement.module}.{alias.name}")
                        return getattr(module, node.func.attr)
        raise AssertionError(f"{ast.unparse(node)} is not of the package")

    def keywords(self, node, rule):
        """Names under which a call is given something; `**` of a section stands for the names of the rule."""
        found = set()
        for keyword in node.keywords:
            found |= {keyword.arg} if keyword.arg else self._unpacked(keyword.value, rule)
        return found

    def _unpacked(self, value, rule):
        text = ast.unparse(value)
        if text in ("snakemake.input", "snakemake.output"):
            return getattr(rule, text.removeprefix("snakemake."))
        if text.startswith("jobs.present("):
            return {argument.value for argument in value.args if isinstance(argument, ast.Constant)}
        if isinstance(value, ast.Name):
            return self._unpacked(self.assigned[value.id], rule)
        if isinstance(value, ast.Dict):
            pairs = zip(value.keys, value.values, strict=True)
            return set().union(*({key.value} if key else self._unpacked(part, rule) for key, part in pairs))
        if isinstance(value, ast.DictComp):
            (part,) = value.generators
            return set(ast.literal_eval(part.iter))
        assert text == "snakemake.params.settings", text
        return {"settings"}


@pytest.mark.parametrize("rule", HELD)
def test_names_of_a_rule_are_those_of_its_function(rule):
    asked, call = rules()[rule], Call(rules()[rule].script)
    target = call.target(call.function)
    given = call.keywords(call.function, asked)
    accepted = inspect.signature(target).parameters
    if rule != "fetch_wheel":  # whose settings are the parameters
        needed = {name for name, parameter in accepted.items() if parameter.default is parameter.empty}
        assert needed <= given <= set(accepted)
    for holder in ("Files", "Origin", "Outputs"):  # several files that go together as one value
        if holder in call.helpers:
            (node,) = (node for node in call.calls if ast.unparse(node.func).endswith(f".{holder}"))
            fields = list(inspect.signature(call.target(node)).parameters)
            by_place = [ast.unparse(argument).rpartition(".")[2] for argument in node.args]
            assert by_place == fields[: len(by_place)]
            assert {*by_place, *call.keywords(node, asked)} == set(fields)
            given |= set(fields)
    taken = set().union({"**tables"}, *(TAKEN.get(helper, set()) for helper in call.helpers))
    assert asked.input | asked.output | asked.params <= given | taken | BEFORE.get(rule, set())


@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
def test_adapters_ask_for_names_that_every_rule_of_theirs_has(adapter):
    text = ADAPTERS[adapter].read_text(encoding="utf-8")
    aliases = {"inputs": "input", "params": "params"} if re.search(r" = snakemake\.(input|params)$", text, re.M) else {}
    for rule in (rule for rule in rules().values() if rule.script == adapter):
        for section in ("input", "output", "params"):
            words = [f"snakemake\\.{section}", *(word for word, meant in aliases.items() if meant == section)]
            asked = {name for word in words for name in re.findall(rf"\b{word}\.(\w+)", text)} - {"get", "items"}
            assert asked <= getattr(rule, section)


def test_the_workflow_starts_without_the_libraries_of_a_model():
    """Rules that run none are held to that by their conda file, which has not got these libraries."""
    heavy = ("torch", "transformers", "lm_eval", "datasets")
    program = f"import sys, iclscope.study; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_no_two_files_of_tests_have_one_name():
    """pytest imports them by their names alone."""
    names = [path.name for path in (PACKAGE.parents[2] / "tests").rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)
    assert len(names) > 100
