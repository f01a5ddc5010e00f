"""One truth for versions: pyproject, requirements and conda files agree, and hold what the code imports."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "workflow/scripts"
PACKAGE = SCRIPTS / "iclscope"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENVIRONMENTS = {file.name: yaml.safe_load(file.read_text(encoding="utf-8")) for file in (ROOT / "envs").glob("*.yaml")}
PIN = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+]+)")


def normal(name):
    """A distribution's name as the package index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(requirements):
    """Version of every distribution; fails on a requirement that is not pinned."""
    found = {requirement: PIN.fullmatch(requirement) for requirement in requirements}
    assert all(found.values()), f"not pinned with ==: {[r for r, match in found.items() if not match]}"
    return {normal(match[1]): match[2] for match in found.values()}


def pip_of(environment):
    return next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))


DEPENDENCIES = pins(PROJECT["dependencies"])
RULE = re.compile(r"^(?:rule|checkpoint) (\w+):\n((?:[ \t].*\n|\n)+)", re.MULTILINE)
RULES = {
    rule: (re.search(r"scripts/(\w+)\.py", text)[1], re.search(r"envs/([\w.]+)\"", text))
    for file in sorted((ROOT / "workflow/rules").glob("*.smk"))
    for rule, text in re.findall(
        r"^(?:rule|checkpoint) (\w+):\n((?:[ \t].*\n|\n)+)", file.read_text(encoding="utf-8"), re.MULTILINE
    )
    if "scripts/" in text
}


@cache
def imported(file):
    """Top-level names of the third-party modules, and files of the package, that a file imports anywhere."""
    others, own = set(), set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            if top == "iclscope":
                own |= {path for path in [SCRIPTS / f"{name.replace('.', '/')}.py"] if path.is_file()}
            elif top not in sys.stdlib_module_names:
                others.add(top)
    return others, own


def import_closure(file):
    """Third-party modules that a file and the package modules behind it import, anywhere in them."""
    seen, waiting = set(), {file}
    while waiting:
        current = waiting.pop()
        seen.add(current)
        waiting |= imported(current)[1] - seen
    return set().union(*(imported(path)[0] for path in seen))


@cache
def distributions():
    return {top: {normal(name) for name in names} for top, names in metadata.packages_distributions().items()}


def not_provided(modules, pinned):
    """Those of the modules that no pinned distribution brings."""
    return sorted(module for module in modules if not distributions().get(module, set()) & set(pinned))


def test_requirements_are_those_of_the_package():
    lines = (ROOT / "envs/requirements.txt").read_text(encoding="utf-8").splitlines()
    assert pins([line for line in lines if line and not line.startswith("#")]) == DEPENDENCIES


def test_tools_of_the_tests_are_pinned():
    assert pins(PROJECT["optional-dependencies"]["test"])


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_conda_files_pin_the_versions_of_the_package(name):
    found = pins(pip_of(ENVIRONMENTS[name]))
    assert found == {distribution: DEPENDENCIES.get(distribution) for distribution in found}
    assert list(found) == sorted(found)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_conda_files_pin_a_python_that_the_package_takes(name):
    (python,) = [entry for entry in ENVIRONMENTS[name]["dependencies"] if str(entry).startswith("python=")]
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert [int(part) for part in python.removeprefix("python=").split(".")] >= [int(p) for p in lowest.split(".")]


# What the workflow itself imports before any rule runs.
STARTED = ("runtime/configuration/checks", "runtime/provenance", "matrix/blocks")


def test_every_dependency_serves_a_rule_or_the_workflow_itself():
    by_rules = set().union(*(pins(pip_of(environment)) for environment in ENVIRONMENTS.values()))
    started = [PACKAGE / f"{name}.py" for name in STARTED]
    modules = set().union(*map(import_closure, started))
    by_workflow = {"snakemake"}.union(*(distributions()[module] for module in modules))
    assert set(DEPENDENCIES) == by_rules | (by_workflow & set(DEPENDENCIES))
    assert not_provided(modules, DEPENDENCIES) == []


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_are_provided_by_a_pinned_dependency(file):
    assert not_provided(imported(file)[0], DEPENDENCIES) == []


@pytest.mark.parametrize("rule", RULES)
def test_a_rules_conda_file_has_what_its_script_imports(rule):
    script, environment = RULES[rule]
    assert environment, f"rule {rule} has a script but no conda file"
    pinned = pins(pip_of(ENVIRONMENTS[environment[1]]))
    assert not_provided(import_closure(SCRIPTS / f"{script}.py"), pinned) == []


def test_every_script_belongs_to_a_rule():
    assert {script for script, _ in RULES.values()} == {path.stem for path in SCRIPTS.glob("*.py")}


@pytest.mark.parametrize("distribution", DEPENDENCIES)
def test_this_environment_has_the_pinned_version(distribution):
    version, _, _ = metadata.version(distribution).partition("+")  # 2.13.0+cpu is a build of 2.13.0 (PEP 440)
    assert version == DEPENDENCIES[distribution]
