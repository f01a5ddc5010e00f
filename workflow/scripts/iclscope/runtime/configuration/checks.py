"""The configuration checked against its schema and against itself, with one sentence per mistake."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from iclscope.runtime.configuration import contradictions, yaml_files
from iclscope.runtime.configuration.registries import taken_names
from iclscope.runtime.errors import StudyError

# What a schema says of a value's range, for messages.
LIMITS = ("type", "minimum", "exclusiveMinimum", "maximum", "minItems", "minProperties", "minLength", "examples")


# Ten times as fast where PyYAML has it. Users' files are read without: it says less of what is wrong in them.
_FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# JSON Schema takes 48.0 for an integer, Python does not.
_TYPES = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
_Validator = validators.extend(Draft202012Validator, type_checker=_TYPES)


def check(config: Mapping[str, Any], schema: Path, extensions: Sequence[Path] = ()) -> None:
    """Raise a StudyError with a sentence per mistake, each with the path of its key and what is allowed there.

    extensions: files of the study's own, whose registered functions may be named too.
    """
    validator = _Validator(yaml.load(schema.read_text(encoding="utf-8"), Loader=_FastLoader))
    mistakes = [_sentence(error) for error in _innermost(validator.iter_errors(config))]
    mistakes = mistakes or [*taken_names(extensions), *contradictions.found(config, extensions)]
    if mistakes:
        raise StudyError("the configuration cannot be used:\n" + "\n".join(f"  {mistake}" for mistake in mistakes))


def check_files(paths: Iterable[str | Path]) -> None:
    """Refuse a configuration file that cannot be read, or has a key that stands there twice."""
    for path in paths:
        yaml_files.compose(path)


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
