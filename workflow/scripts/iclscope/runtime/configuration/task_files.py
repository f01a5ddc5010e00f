"""Task files of our own, read without the harness: which files a definition is loaded from, and what it says.

The harness takes seconds to import; here the configuration is checked and Snakemake is told of the files.
"""

import ast
import importlib.util
import os
import re
import string
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import iclscope
from iclscope.runtime.configuration import yaml_files
from iclscope.runtime.errors import StudyError

HIDDEN = {"__pycache__", ".ipynb_checkpoints"}  # folders that the harness passes over


ROOT = Path(iclscope.__file__).parents[3]
CONFIG_FOLDER = "ICLSCOPE_CONFIG"  # environment variable: the folder of the study's configuration


class Definition(NamedTuple):
    """A task's definition with its includes merged, functions as their names; and all files it is loaded from."""

    fields: dict[str, Any]
    files: list[Path]


def config_folders() -> list[Path]:
    """Folders in which a study's own files are looked for: that of its configuration, then `config`, here and there.

    Relative to the folder in which Snakemake runs: a study that was moved would else be taken for one of other inputs.
    """
    folders = (os.environ.get(CONFIG_FOLDER, "config"), "config", ROOT / "config")
    return [Path(one) for one in dict.fromkeys(os.path.relpath(folder) for folder in folders)]


def folder(name: str) -> Path:
    """The folder of task files that defines task `name`: that of the study, else the workflow's own."""
    folders = [one / "tasks" for one in config_folders()]
    there = [one for one in folders if one.is_dir()] or folders
    return next((one for one in there if find(name, one)), there[0])


def inputs(name: str) -> list[str]:
    """All files that task `name` is loaded from, as Snakemake names them; none for a task of the harness."""
    found = find(name, folder(name))
    return [os.path.relpath(path) for path in found.files] if found else []


def generates(name: str) -> bool:
    """Whether task `name` asks for generated answers, as far as its own file or the harness's says it."""
    found = definition(name)
    return found is not None and found.fields.get("output_type", "generate_until") == "generate_until"


def definition(name: str) -> Definition | None:
    """The definition of task `name` in its own file or the harness's; None where neither can be read as one."""
    return find(name, folder(name)) or _of_harness(name)


def fixed_choices(name: str) -> list[str] | None:
    """Choices that all rows of a task have, none for generated answers; None where its own file does not say them.

    A task of the harness has no such file: looking for its definition takes seconds.
    """
    found = find(name, folder(name))
    if found is None:
        return None
    if found.fields.get("output_type", "generate_until") == "generate_until":
        return []
    choices = found.fields.get("doc_to_choice")
    return [str(choice) for choice in choices] if isinstance(choices, list) else None


def are_classes(choices: Sequence[str]) -> bool:
    """Whether choices mean the same in every row: there are some, and they are not the letters of options in a list.

    Numbers may be ratings, and count as classes.
    """
    return bool(choices) and "".join(choices).upper() != string.ascii_uppercase[: len(choices)]


def has_functions(fields: Any) -> bool:
    """Whether a definition, or a part of it, names functions of its own."""
    if isinstance(fields, dict | list):
        return any(map(has_functions, fields.values() if isinstance(fields, dict) else fields))
    return isinstance(fields, yaml_files.Function)


def harness_file(name: str) -> Path | None:
    """The file in which the harness defines a task or group: it has thousands, so the name is looked for as text."""
    harness = importlib.util.find_spec("lm_eval")
    line = re.compile(rf"""^["']?(?:task|group)["']? *: *["']?{re.escape(name)}["']? *$""", re.MULTILINE)
    files = Path(harness.origin or "").parent.glob("tasks/**/*.yaml") if harness else ()
    found = (file for file in sorted(files, key=Path.as_posix) if line.search(file.read_text(encoding="utf-8")))
    return next(found, None)  # the first one counts


def _of_harness(name: str) -> Definition | None:
    """The definition of a task of the harness, where its file can be read as one."""
    file = harness_file(name)
    try:
        return read(file) if file else None
    except StudyError:
        return None


def find(name: str, folder: str | Path) -> Definition | None:
    """The definition of task `name` below `folder`, as the harness finds it; None where it stands in none of its files.

    Raises StudyError where the file of this name, or the one that defines the task, is no YAML or has a key twice.
    """
    for path in sorted(Path(folder).glob("**/*.yaml"), key=lambda path: path.as_posix()):
        if HIDDEN.isdisjoint(path.parts):
            try:
                found = read(path)
            except StudyError:
                if path.stem == name:
                    raise
                continue
            if found.fields.get("task") == name:
                return found
    return None


def read(path: Path) -> Definition:
    """The definition in a task file, its includes merged as the harness does it."""
    root = yaml_files.compose(path)
    _check_written(root, path)
    fields = yaml_files.load(path)
    if not isinstance(fields, dict):
        raise StudyError(f"{path}: a task file holds fields and their values; write `task: {path.stem}` and so on")
    files = [path, *_modules(fields, path.parent)]
    merged: dict[str, Any] = {}
    includes = fields.pop("include", [])
    for include in includes if isinstance(includes, list) else [includes]:
        other = path.parent / str(include)
        if not other.is_file():
            raise StudyError(f"{path}: the file {include} that it includes does not exist; correct the path")
        if other.resolve() in {file.resolve() for file in files}:
            raise StudyError(f"{path}: it includes {include}, which includes it; take one include out")
        found = read(other)
        merged |= {key: value for key, value in found.fields.items() if key != "task_list"}
        files += found.files
    return Definition(merged | fields, list(dict.fromkeys(files)))


def _modules(fields: Any, folder: Path) -> Iterator[Path]:
    """Files of the Python functions that a definition names, with what they import and read in their folder."""
    if isinstance(fields, yaml_files.Function):
        module = folder / f"{fields.rpartition('.')[0].replace('.', '/')}.py"
        if module.is_file():
            yield from _used(module, set())
    elif isinstance(fields, dict | list):
        for value in fields.values() if isinstance(fields, dict) else fields:
            yield from _modules(value, folder)


def _used(file: Path, seen: set[Path]) -> Iterator[Path]:
    """A file, and those beside it that it names if it is Python: modules, data files and whole folders."""
    if file in seen:
        return
    seen.add(file)
    yield file
    if file.suffix != ".py":
        return
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return  # whoever loads it says so
    for name in sorted(_named(tree)):
        beside = file.parent / name
        if beside.is_file():
            yield from _used(beside, seen)
        elif beside.is_dir() and beside.resolve() not in file.resolve().parents:
            for path in sorted(beside.rglob("*")):
                if path.is_file() and HIDDEN.isdisjoint(path.parts):
                    yield from _used(path, seen)


def _named(tree: ast.Module) -> set[str]:
    """Relative paths that a syntax tree names, by import or in a string."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {f"{alias.name.replace('.', '/')}.py" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(f"{(node.module or '').replace('.', '/')}.py")
            names |= {f"{alias.name}.py" for alias in node.names if node.module is None}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) < 200:
            names.add(node.value)
    return {name for name in names if "\0" not in name and not name.isspace() and name.strip("./")}


def _check_written(root: yaml.Node | None, path: Path) -> None:
    """Refuse a choice that YAML reads as something else than it says: `yes`, `0.50`, `07`."""
    for choices in _below(root, "doc_to_choice"):
        for node in _scalars(choices) if not isinstance(choices, yaml.ScalarNode) else ():
            value = yaml_files.constructed(node)
            if not isinstance(value, str | tuple) and str(value) != node.value:
                raise StudyError(
                    f"{path}, line {node.start_mark.line + 1}: YAML reads the choice {node.value} as {value}; put it "
                    "in quotes"
                )


def _below(node: yaml.Node | None, name: str) -> Iterator[yaml.Node]:
    """Values of the key `name` in a mapping and the mappings in it."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == name:
                yield value
            else:
                yield from _below(value, name)


def _scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    for part in node.value if isinstance(node, yaml.SequenceNode) else ():
        yield from _scalars(part)
    for _, value in node.value if isinstance(node, yaml.MappingNode) else ():
        yield from _scalars(value)
