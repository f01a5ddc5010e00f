"""Which figures there are and what they are called, as rules ask for it: read from files, without importing them.

Rules are read whenever a job starts, and the modules that draw take seconds to import.
"""

import ast
import re
from pathlib import Path

REPORT = Path(__file__).parent


def labels(chapters: str) -> dict[str, str]:
    """Name → label of every figure of the chapters that a list in `figures` names, in the order of the page."""
    return {
        node.name: ast.literal_eval(mark.args[0])
        for file in _files(chapters)
        for node in _parsed(file).body
        if isinstance(node, ast.FunctionDef)
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "CHAPTER.figure"
    }


def _files(chapters: str) -> list[Path]:
    """The files of the chapters in a list that stands as `NAME = (module.CHAPTER, …)`."""
    (modules,) = (
        ast.unparse(node.value)
        for node in _parsed(REPORT / "figures.py").body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == chapters
    )
    files = {file.stem: file for file in (REPORT / "chapters").rglob("*.py")}
    return [files[module] for module in re.findall(r"(\w+)\.CHAPTER", modules)]


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))
