"""The configuration: checked against its schema and against itself, with one sentence per mistake."""

import ast
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from iclscope.runtime.errors import StudyError

PACKAGE = Path(__file__).parents[1]

# What a data set's rows come from; the other settings choose among them and say how they are used.
SOURCE_KEYS = ("task", "source", "package", "version", "sha256", "reader", "files", "repo", "name", "revision")

# Selectors that search with a number of items of the user's choice need no registration.
SEARCH = re.compile(r"search_[1-9]\d*")

# What a schema says of a value's range, for messages.
LIMITS = ("type", "minimum", "exclusiveMinimum", "maximum", "minItems", "minProperties", "minLength")

# Config keys whose entries are names of registered functions: the module and the decorator that registers them.
REGISTRIES = {
    ("masks",): ("activations/masks", "mask"),
    ("metrics", "names"): ("signals/metrics", "metric"),
    ("metrics", "poolings"): ("signals/poolings", "pooling"),
    ("selection", "selectors"): ("selection/selectors", "register"),
}


# JSON Schema takes 48.0 for an integer, Python does not.
_TYPES = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
_Validator = validators.extend(Draft202012Validator, type_checker=_TYPES)


def check(config: Mapping[str, Any], schema: Path, extensions: Sequence[Path] = ()) -> None:
    """Raise a StudyError with a sentence per mistake, each with the path of its key and what is allowed there.

    extensions: files of the study's own, whose registered functions may be named too.
    """
    validator = _Validator(yaml.safe_load(schema.read_text(encoding="utf-8")))
    mistakes = [_sentence(error) for error in _innermost(validator.iter_errors(config))]
    mistakes = mistakes or [*_taken_names(extensions), *_contradictions(config, extensions)]
    if mistakes:
        raise StudyError("the configuration cannot be used:\n" + "\n".join(f"  {mistake}" for mistake in mistakes))


def without(entry: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """A copy of a settings mapping without some keys."""
    return {key: value for key, value in entry.items() if key not in keys}


def source(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings of a data set that say where its rows come from."""
    return {key: entry[key] for key in SOURCE_KEYS if key in entry}


def wheel(config: Mapping[str, Any], package: str, version: str) -> dict[str, str]:
    """Package, version and checksum of a wheel, and the config key that asks for it."""
    for section in ("models", "datasets"):
        for name, entry in config[section].items():
            if (entry.get("package"), entry.get("version")) == (package, version):
                wanted = {"package": package, "version": version, "sha256": entry["sha256"]}
                return {**wanted, "key": f"{section}.{name}"}
    raise StudyError(f"no model and no data set of the configuration comes from {package} {version}")


def registered(module: str | Path, decorator: str) -> list[str]:
    """Names that a module registers with `@decorator` or `@decorator("name")`, read without importing it.

    module: its path in the package, without suffix, or a file elsewhere. The configuration is checked whenever a job
    starts, and the modules behind it take seconds to import.
    """
    file = module if isinstance(module, Path) else PACKAGE / f"{module}.py"
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise StudyError(f"{file}, line {error.lineno}: {error.msg}; mend the file") from error
    names: list[str] = []
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        for mark in function.decorator_list:
            if isinstance(mark, ast.Name) and mark.id == decorator:
                names.append(function.name)
            elif isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == decorator:
                given = [str(a.value) for a in mark.args if isinstance(a, ast.Constant) and str(a.value).isidentifier()]
                names.append(given[0] if given else function.name)
    return names


def _innermost(errors: Iterable[ValidationError]) -> list[ValidationError]:
    """The errors themselves, where the schema only reports that a combination failed."""
    found = []
    for error in errors:
        found += _innermost(error.context) if error.context else [error]
    return sorted(found, key=lambda error: list(map(str, error.absolute_path)))


def _sentence(error: ValidationError) -> str:
    path = ".".join(map(str, error.absolute_path)) or "the file"
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = [key for key in error.instance if key not in known]
        near = difflib.get_close_matches(str(unknown[0]), known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{path}: unknown key {', '.join(map(str, unknown))} (known: {', '.join(known)}){hint}"
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return f"{path}: key {', '.join(missing)} is missing"
    if error.validator == "enum":
        return f"{path}: {error.instance!r} is not one of {', '.join(map(str, error.validator_value))}"
    if error.validator == "pattern":
        return f"{path}: {error.instance!r} must match {error.validator_value} ({error.schema.get('description', '')})"
    if error.validator == "propertyNames":
        return f"{path}: {error.message}"
    allowed = ", ".join(f"{key} {error.schema[key]}" for key in LIMITS if key in error.schema)
    return f"{path}: {error.message} (allowed: {allowed})"


def _taken_names(extensions: Sequence[Path]) -> Iterable[str]:
    """Names that extensions register although something else has them."""
    for module, decorator in REGISTRIES.values():
        owners = dict.fromkeys(registered(module, decorator), "the package")
        for file in extensions:
            for name in registered(file, decorator):
                if name in owners:
                    yield f"{file}: the {decorator} {name} is there already, in {owners[name]}; choose another name"
                owners[name] = str(file)


def _contradictions(config: Mapping[str, Any], extensions: Sequence[Path]) -> Iterable[str]:
    """Mistakes that a schema cannot see: names that refer to nothing, one wheel with two checksums."""
    for name, entry in config["datasets"].items():
        model = entry.get("max_tokens", {}).get("tokenizer")
        if model is not None and model not in config["models"]:
            known = ", ".join(config["models"])
            yield f"datasets.{name}.max_tokens.tokenizer: {model!r} is not one of the models ({known})"
    checksums: dict[tuple[str, str], tuple[str, str]] = {}
    for section in ("models", "datasets"):
        for name, entry in config[section].items():
            if entry["source"] == "wheel":
                wheel, checksum = (entry["package"], entry["version"]), (entry["sha256"], f"{section}.{name}.sha256")
                first = checksums.setdefault(wheel, checksum)
                if first[0] != checksum[0]:
                    yield f"{checksum[1]}: differs from {first[1]}, though both name {wheel[0]} {wheel[1]}"
    encoder = set(config["features"].get("encoder", {"path"}))
    if encoder not in ({"path"}, {"repo", "revision"}):
        yield "features.encoder: needs either path, or repo and revision"
    if "nearest_encoder" in config["selection"]["selectors"] and "encoder" not in config["features"]:
        yield "selection.selectors: nearest_encoder needs a sentence encoder, which features.encoder names"
    for path, (module, decorator) in REGISTRIES.items():
        entries: Any = config
        for part in path:
            entries = entries[part]
        places: list[str | Path] = [module, *extensions]
        names = [name for place in places for name in registered(place, decorator)]
        searches = module == "selection/selectors"
        for entry in entries:
            if entry not in names and not (searches and SEARCH.fullmatch(entry)):
                allowed = [*names, *(["search_K with a number K"] if searches else [])]
                yield f"{'.'.join(path)}: {entry!r} is not one of {', '.join(allowed)}"
