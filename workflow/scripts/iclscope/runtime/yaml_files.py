"""YAML files of the user: a key that stands there twice is refused; readers of YAML keep the last without a word."""

from collections.abc import Hashable
from pathlib import Path

import yaml

from iclscope.runtime.errors import StudyError


def compose(path: str | Path) -> yaml.Node | None:
    """The nodes of a YAML or JSON file, with their lines; refuses what is not YAML, and a key that stands twice."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
    if Path(path).suffix == ".json":
        text = text.replace("\t", " ")  # between its tokens JSON allows tabs, YAML does not
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise StudyError(f"{path}{line}: not YAML ({error.problem}); mend it") from error
    except yaml.YAMLError as error:
        raise StudyError(f"{path}: not YAML ({str(error).splitlines()[0]}); mend it") from error
    if root is not None:
        _check(root, str(path), "")
    return root


def constructed(node: yaml.Node) -> Hashable:
    """The value of a scalar as readers of YAML see it: `yes` and `true` are the same one, `1` and `"1"` are not."""
    try:
        value = yaml.constructor.SafeConstructor().construct_object(node, deep=True)
        hash(value)
    except (yaml.YAMLError, TypeError, ValueError):
        return node.tag, str(node.value)
    return value


def _check(node: yaml.Node, path: str, where: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for part in node.value:
            _check(part, path, where)
    if not isinstance(node, yaml.MappingNode):
        return
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
        _check(value, path, f"{name}.")
