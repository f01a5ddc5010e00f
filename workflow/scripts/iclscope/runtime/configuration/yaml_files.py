"""YAML files of the user: what readers of YAML drop without a word or cannot read is refused with its line."""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from iclscope.runtime.errors import StudyError

Value = TypeVar("Value")

QUOTE = "put a text that holds signs of YAML, such as {{, %, # or a colon, in quotes"

# What to do, by what a message of the YAML reader holds.
REMEDIES = {
    r"'\t'": "indent with spaces, not with tabs",
    "undefined alias": "put a text that begins with * in quotes",
    "another document": "take out the line ---, one file holds one document",
    "unhashable": "put a text that begins with braces or brackets, such as {{question}}, in quotes",
    "merging": "<< takes a mapping, such as an alias of one",
    "could not determine a constructor": "put a text that begins with ! or = in quotes, or take out the tag",
    "found incompatible YAML": "take out the line that begins with %",
}


class Function(str):
    """The name of a function of a task's own."""


class _Loader(yaml.SafeLoader):
    """Reads names of functions instead of importing them."""


_Loader.add_constructor("!function", lambda loader, node: Function(loader.construct_scalar(node)))


def compose(path: str | Path) -> yaml.Node | None:
    """The nodes of a YAML or JSON file, with their lines; refuses what cannot be read, and a key that stands twice."""
    root = _in_one_sentence(lambda text: yaml.compose(text, Loader=yaml.SafeLoader), path)
    if root is not None:
        _check(root, str(path), "", {})
    load(path)
    return root


def load(path: str | Path) -> Any:
    """What a YAML or JSON file says; functions as their names."""
    return _in_one_sentence(lambda text: yaml.load(text, Loader=_Loader), path)


def constructed(node: yaml.Node) -> Hashable:
    """The value of a scalar as readers of YAML see it: `yes` and `true` are the same one, `1` and `"1"` are not."""
    try:
        value = yaml.constructor.SafeConstructor().construct_object(node, deep=True)
        hash(value)
    except (yaml.YAMLError, TypeError, ValueError):
        return node.tag, str(node.value)
    return value


def _in_one_sentence(read: Callable[[str], Value], path: str | Path) -> Value:
    """What `read` makes of the text of a file; what it raises, with file and line and what to do."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror}); correct the path") from error
    if Path(path).suffix == ".json":
        text = text.replace("\t", " ")  # between its tokens JSON allows tabs, YAML does not
    try:
        return read(text)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        remedy = next((remedy for sign, remedy in REMEDIES.items() if sign in str(error.problem)), QUOTE)
        problem = str(error.problem).replace("found unhashable key", "a mapping or list stands for a key")
        raise StudyError(f"{path}{line}: not YAML ({problem}); mend it: {remedy}") from error
    except yaml.YAMLError as error:
        raise StudyError(f"{path}: not YAML ({str(error).splitlines()[0]}); mend it") from error
    except RecursionError as error:
        raise StudyError(f"{path}: lists and mappings stand too deep in one another; nest them less") from error


def _check(node: yaml.Node, path: str, where: str, seen: dict[int, bool]) -> None:
    """Refuse a key that stands twice, a value that is not of its tag's kind, and one that is a part of itself.

    seen: id of a node → whether it is complete; an alias is the node that it names.
    """
    line = node.start_mark.line + 1
    if id(node) in seen:
        if not seen[id(node)]:
            raise StudyError(f"{path}, line {line}: {where.rstrip('.') or 'the file'} is a part of itself; take out *")
        return
    seen[id(node)] = False
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(node, path)
    elif isinstance(node, yaml.SequenceNode):
        for part in node.value:
            _check(part, path, where, seen)
    else:
        _check_mapping(node, path, where, seen)
    seen[id(node)] = True


def _check_mapping(node: yaml.Node, path: str, where: str, seen: dict[int, bool]) -> None:
    lines: dict[Hashable, int] = {}
    for key, value in node.value:
        name, line = f"{where}{key.value}", key.start_mark.line + 1
        identity = (type(constructed(key)), constructed(key))
        if identity in lines:
            raise StudyError(
                f"{path}, line {line}: key {name} stands there already, in line {lines[identity]}; only the last would "
                "count: join the two or delete one"
            )
        lines[identity] = line
        _check(value, path, f"{name}.", seen)


def _check_scalar(node: yaml.ScalarNode, path: str) -> None:
    """Refuse a value that looks like a date or number, or is tagged as one, and is none."""
    if not node.tag.startswith("tag:"):
        return
    try:
        yaml.constructor.SafeConstructor().construct_object(node)
    except yaml.YAMLError:
        return  # whoever reads it says so
    except (ValueError, LookupError, AttributeError) as error:
        kind = node.tag.rpartition(":")[2]
        raise StudyError(
            f"{path}, line {node.start_mark.line + 1}: YAML takes {node.value[:40]} for a value of the kind {kind}, "
            "which it is not; put it in quotes"
        ) from error
