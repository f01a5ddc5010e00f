"""A digest of the code behind a rule, for Snakemake's `params`: a change of behaviour redoes what it touches, no more.

Snakemake does not see a changed module that a script imports. The digest covers the definitions that a script reaches,
name by name, through the package's imports. A module of which a name is reached also counts with its statements that
define nothing, with its decorated definitions, since both may register something, and with the files of the data
folders that its constant ASSETS names.

Where a definition stands does not count, nor do comments, docstrings, annotations of functions, log lines, the
sentences of a StudyError and checks that only refuse: moving, renaming or explaining something redoes nothing. The
plumbing around a job, which shapes no result, is left out. What is looked up under a computed name would be missed, so
the package's own modules are never imported or searched that way.
"""

import ast
import functools
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import write_text

PACKAGE = "iclscope"
SCRIPTS = Path(__file__).parents[2]
PLUMBING = "runtime"  # the room of what goes on around a job

LOG_LINES = {"debug", "info", "warning", "error", "exception", "critical", "tell"}

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Scope = _Function | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_Named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

Place = tuple[Path, str]  # a file and a name that it defines; under "" stands what defines nothing
Dotted = tuple[str, ...]  # `package.module.name.attribute`; begins with "" where the module itself defines the name


def of_script(script: str, scripts: Path = SCRIPTS, extensions: Sequence[Path] = ()) -> str:
    """Digest of the adapter `script` and of all that it reaches in the package.

    extensions: files of a study's own; of them counts what registers itself in a module that the script reaches.
    Raises StudyError if an import from the package leads nowhere.
    """
    texts = _Package(scripts).reached(scripts / f"{script}.py", extensions)
    return _hash(json.dumps(sorted(texts)))


def of_scripts(memory: Path, scripts: Path = SCRIPTS, extensions: Sequence[Path] = ()) -> dict[str, str]:
    """Adapter → digest, as `of_script`, of all of them; reading every module anew would take most of a start.

    memory: a file that keeps them for as long as all that could count has the same content, wherever it lies.
    """
    sources = [path for path in scripts.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    names = [(path, str(path.relative_to(scripts))) for path in sorted(sources)]
    names += [(path, path.name) for path in extensions]
    contents = [f"{name} {_hash(path.read_bytes())}" for path, name in names]
    state = _hash(json.dumps([sys.version, *contents]))
    kept = json.loads(memory.read_text(encoding="utf-8")) if memory.is_file() else {}
    if kept.get("state") != state:
        digests = {path.stem: of_script(path.stem, scripts, extensions) for path in sorted(scripts.glob("*.py"))}
        kept = {"state": state, "digests": digests}
        write_text(memory, json.dumps(kept))
    return kept["digests"]


def registries(extension: Path) -> set[str]:
    """The modules of the package in which a file of a study's own registers something."""
    marks = _Package(SCRIPTS).module(extension).registrations.values()
    return {".".join(dotted[:-1]) for found in marks for dotted in found if dotted[0] == PACKAGE}


class _Package:
    """The modules below a folder, each read once."""

    def __init__(self, scripts: Path) -> None:
        self.scripts = scripts
        self.module = functools.cache(lambda file: _parsed(file.read_bytes()))
        self.find = functools.cache(self._find)
        self.shape = functools.cache(self._shape)

    def reached(self, script: Path, extensions: Sequence[Path]) -> set[str]:
        """The behaviour of all that counts for a script: a text for each statement and each data file."""
        texts: set[str] = set()
        done: set[Place] = set()
        waiting: list[Place] = [(script, name) for name in self.module(script).definitions]
        while waiting:
            while waiting:
                file, name = place = waiting.pop()
                if place not in done and not self.is_plumbing(file):
                    done.add(place)
                    waiting.append((file, ""))  # with a name comes all that the import of its module does
                    texts |= {self.text(file, statement) for statement in self.module(file).statements.get(name, [])}
                    waiting += self.used(place, follow=file not in extensions)
                    texts |= self.assets(file)
            loaded = {file for file, _ in done}
            waiting = [new for extra in extensions for new in self.registered(extra, loaded) if new not in done]
        return texts

    def used(self, place: Place, follow: bool) -> list[Place]:
        """What a definition uses; or what the import of a module does, with all that it registers if `follow`."""
        file, name = place
        module = self.module(file)
        names = [dotted for statement in module.statements.get(name, []) for dotted in _names(statement)]
        found = [place for dotted in names for place in self.find(file, dotted)[0]]
        if name:
            return found
        found += [(other, "") for dotted in module.unused for other, _ in self.find(file, dotted)[0]]
        return found + [(file, registered) for registered in module.registrations if follow]

    def assets(self, file: Path) -> set[str]:
        """Name and digest of every file in the data folders that a module names."""
        folders = [file.parent / name for name in self.module(file).assets]
        files = [path for folder in folders for path in folder.iterdir() if path.is_file()]
        return {f"{path.parent.name}/{path.name} {_hash(path.read_bytes())}" for path in files}

    def is_plumbing(self, file: Path) -> bool:
        """Whether a module belongs to what is left out."""
        return self.scripts / PACKAGE / PLUMBING in file.parents

    def registered(self, extension: Path, loaded: set[Path]) -> list[Place]:
        """The definitions of an extension that something of the loaded modules decorates."""
        return [
            (extension, name)
            for name, marks in self.module(extension).registrations.items()
            if loaded & {file for dotted in marks for file, _ in self.find(extension, dotted)[0]}
        ]

    def _find(self, file: Path, dotted: Dotted) -> tuple[tuple[Place, ...], str]:
        """Where a name that `file` uses is defined, and the attributes after it; a module itself is all its names."""
        if not dotted[0]:
            return ((file, dotted[1]),), ".".join(dotted[2:])
        place, left = self.scripts, list(dotted)
        while left and (place / left[0]).is_dir():
            place /= left.pop(0)
        place = place / f"{left.pop(0)}.py" if left and (place / f"{left[0]}.py").is_file() else place / "__init__.py"
        module = self.module(place) if place.is_file() else None
        if module and not left:
            return tuple((place, name) for name in module.definitions), ""
        if module and left[0] in module.statements:
            return ((place, left[0]),), ".".join(left[1:])
        if module and left[0] in module.imports:
            return self.find(place, (*min(module.imports[left[0]]).split("."), *left[1:]))
        raise StudyError(f"{file}: {'.'.join(dotted)} is not in the package; mend the name or its import")

    def text(self, file: Path, statement: "Statement", with_shapes: bool = True) -> str:
        """A statement free of place: a name from anywhere in the package is written as what it means."""
        parts = []
        for part in statement:
            if not isinstance(part, str):
                places, left = self.find(file, part)
                shapes = {self.shape(place) for place in places if with_shapes and not self.is_plumbing(place[0])}
                part = "|".join(sorted({name for _, name in places} | shapes)) + left
            parts.append(part)
        return "".join(parts)

    def _shape(self, place: Place) -> str:
        """Digest of a definition without what it uses in turn: tells definitions of the same name apart."""
        file, name = place
        return _hash("".join(self.text(file, statement, False) for statement in self.module(file).statements[name]))


Statement = tuple[str | Dotted, ...]  # text, and between it names that are defined in the package


def _names(statement: Statement) -> list[Dotted]:
    return [part for part in statement if not isinstance(part, str)]


class _Module:
    """A file of Python: what it defines under which name, what it imports as what, and what it does on import."""

    def __init__(self, text: bytes) -> None:
        tree = ast.parse(text)
        self.imports = _imports(tree)
        self.definitions: dict[str, list[ast.stmt]] = defaultdict(list, {"": []})
        for node in tree.body:
            for name in _defined(node) or ([] if _Writer(self).is_idle(node) else [""]):
                self.definitions[name].append(node)
        assigned = [node.value for node in self.definitions.get("ASSETS", []) if isinstance(node, ast.Assign)]
        self.assets: list[str] = [folder for value in assigned for folder in ast.literal_eval(value)]
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        own = [(name, origin) for name, found in self.imports.items() for origin in found if _own(origin)]
        self.unused: list[Dotted] = [tuple(origin.split(".")) for name, origin in own if name not in used]
        self.statements = {name: [_Writer(self).write(n) for n in nodes] for name, nodes in self.definitions.items()}
        self.statements["__doc__"] = [(ast.get_docstring(tree) or "",)]

    @functools.cached_property
    def registrations(self) -> dict[str, list[Dotted]]:
        """Name → the decorators by which it may register itself; those of the standard library register nothing."""
        found = {}
        for name, nodes in self.definitions.items():
            marks = [mark for node in nodes if isinstance(node, _Named) for mark in node.decorator_list]
            if any(not self._is_standard(mark) for mark in marks):
                found[name] = [dotted for mark in marks for dotted in _names(_Writer(self).write(mark))]
        return found

    def _is_standard(self, decorator: ast.expr) -> bool:
        root = _dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)[0]
        origins = self.imports.get(root, {PACKAGE})
        return all(origin.partition(".")[0] in sys.stdlib_module_names for origin in origins)


class _Writer:
    """Writes a node as a text of its behaviour, in which names that the package defines stand apart."""

    def __init__(self, module: _Module) -> None:
        self.module = module
        self.parts: list[str | Dotted] = []
        self.scopes: list[set[str]] = []

    def write(self, node: ast.AST) -> Statement:
        """The parts of the text."""
        self._node(node)
        return tuple(self.parts)

    def is_idle(self, node: ast.stmt) -> bool:
        """Whether a statement is no behaviour: a docstring, an import, `pass`, or a line for the log."""
        if not isinstance(node, ast.Expr):
            return isinstance(node, ast.Import | ast.ImportFrom | ast.Pass)
        call = node.value.func if isinstance(node.value, ast.Call) else None
        if not isinstance(call, ast.Attribute):
            return isinstance(node.value, ast.Constant)
        return call.attr in LOG_LINES and (_dotted(call.value) == ["logger"] or self._means(call.value, "logs"))

    def _any(self, value: object) -> None:
        if isinstance(value, ast.AST):
            self._node(value)
        elif isinstance(value, list):
            for one in value:
                if not (isinstance(one, ast.stmt) and self.is_idle(one)):
                    self._any(one)
                    self.parts.append(",")
        else:
            self.parts.append(repr(value))

    def _node(self, node: ast.AST) -> None:
        names = _dotted(node)
        if names[0]:
            self._dotted_name(names)
        elif isinstance(node, _Scope):
            self._scope(node)
        elif isinstance(node, ast.Call) and self._shapes_nothing(node.func):
            self._any(node.func)
        elif isinstance(node, ast.AnnAssign) and self.scopes[-1:] != [set()]:
            self._fields(ast.Assign([node.target], node.value) if node.value else ast.Pass())
        elif isinstance(node, ast.ClassDef):
            self.scopes.append(set())  # in a class, and there alone, annotations say what it has
            self._fields(node)
            self.scopes.pop()
        else:
            self._fields(node)

    def _fields(self, node: ast.AST, without: tuple[str, ...] = ()) -> None:
        self.parts.append(f"{type(node).__name__}(")
        for field in node._fields:
            value = getattr(node, field, None)
            absent = field == "type_params" and not value  # a field from Python 3.12 on
            if not absent and field not in ("ctx", "kind", "type_comment", *without):
                self.parts.append(f"{field}=")
                self._any(value)
        self.parts.append(")")

    def _scope(self, node: _Scope) -> None:
        """A function, lambda or comprehension, in which names of its own hide others."""
        if isinstance(node, _Function):
            for argument in _arguments(node.args):
                self.parts.append(f"{argument.arg},")
            arguments = node.args
            self._any([arguments.defaults, arguments.kw_defaults, getattr(node, "decorator_list", [])])
            kinds = (arguments.posonlyargs, arguments.args, arguments.kwonlyargs)
            self.parts.append(f"{[len(kind) for kind in kinds]},{arguments.vararg is None},")
        else:
            self._any(node.generators[0].iter)  # belongs to the scope around
        self.scopes.append(_bound(node))
        self._fields(node, without=("args", "decorator_list", "returns"))
        self.scopes.pop()

    def _dotted_name(self, names: list[str]) -> None:
        """A name with its attributes: of a scope, of the module, imported, or of Python."""
        origins = self.module.imports.get(names[0], set())
        if any(names[0] in scope for scope in self.scopes):
            self.parts.append(".".join(names))
        elif names[0] in self.module.definitions:
            self.parts.append(("", *names))
        elif origins:
            for origin in sorted(origins):
                found = (*origin.split("."), *names[1:])
                self.parts.append(found if _own(origin) else ".".join(found))
        else:
            self.parts.append(".".join(names))

    def _shapes_nothing(self, function: ast.expr) -> bool:
        """Whether what a call is given shapes no result: the sentence of an error, a check that can only refuse."""
        refuses = _dotted(function)[1:] == ["only_refuses"] and self._means(function, "jobs")
        return refuses or self._means(function, "StudyError")

    def _means(self, node: ast.expr, name: str) -> bool:
        """Whether a name was imported from the package as `name`, or from a module of that name."""
        return any(
            _own(origin) and origin.endswith(f".{name}") for origin in self.module.imports.get(_dotted(node)[0], ())
        )


@functools.cache  # stages share most modules
def _parsed(text: bytes) -> _Module:
    return _Module(text)


def _hash(content: str | bytes) -> str:
    """First 16 hexadecimal digits of the SHA-256."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]


def _own(origin: str) -> bool:
    return origin.partition(".")[0] == PACKAGE


def _imports(tree: ast.Module) -> dict[str, set[str]]:
    """Every name that is imported anywhere in a file → `package.module.name`."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            start = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                top = alias.name if start or alias.asname else alias.name.partition(".")[0]
                found[alias.asname or top].add(start + top)
    return found


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement of a module defines, if it does nothing else."""
    if isinstance(node, _Named):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = [name for target in targets for name in (target.elts if isinstance(target, ast.Tuple) else [target])]
    found = [name.id for name in names if isinstance(name, ast.Name)]
    return found if len(found) == len(names) else []


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    """All of a function, in order."""
    single = [one for one in (arguments.vararg, arguments.kwarg) if one]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *single]


def _bound(scope: ast.AST) -> set[str]:
    """Names that are bound in a function, lambda or comprehension, not in those inside it."""
    names = {argument.arg for argument in _arguments(scope.args)} if isinstance(scope, _Function) else set()
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, _Named | ast.ExceptHandler) and node.name:
            names.add(node.name)
        if not isinstance(node, _Scope | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)
    return names


def _dotted(node: ast.AST) -> list[str]:
    """The names of `a.b.c`; the first is empty where something else than a name stands there."""
    if isinstance(node, ast.Attribute):
        return [*_dotted(node.value), node.attr]
    return [node.id if isinstance(node, ast.Name) else ""]
