"""What the code must not do anywhere: unpickle, run code of a model unasked, or write a file in place."""

import ast

import pytest

from iclscope.runtime.code_digest import SCRIPTS

FILES = sorted(SCRIPTS.rglob("*.py"))
PICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
LOADERS = {"torch.load", "torch.save", "np.load", "np.save", "numpy.load"}
WRITERS = {"write_text", "write_bytes", "savefig", "write_parquet", "write_csv", "write_json", "write_ndjson", "to_csv"}
# They write to a temporary file or folder that the caller moves to its place, to a log, or to the lock of a run.
WRITING = {
    f"iclscope/{name}.py"
    for name in (
        "report/style", "runtime/devices", "runtime/files", "runtime/lock", "runtime/logs", "sources/prepare_model",
        "sources/wheels", "tasks/rows",
    )
}  # fmt: skip


def nodes(path, kind):
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, kind)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SCRIPTS)))
def test_nothing_is_pickled_or_unpickled(path):
    imported = {alias.name.partition(".")[0] for node in nodes(path, ast.Import) for alias in node.names}
    imported |= {(node.module or "").partition(".")[0] for node in nodes(path, ast.ImportFrom)}
    assert not imported & PICKLERS
    assert not {ast.unparse(call.func) for call in nodes(path, ast.Call)} & LOADERS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SCRIPTS)))
def test_trust_and_unsafe_weights_are_never_written_into_the_code(path):
    for keyword in nodes(path, ast.keyword):
        constant = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        assert not (keyword.arg == "trust_remote_code" and constant is True)
        assert not (keyword.arg == "weights_only" and constant is not True)
        assert not (keyword.arg == "allow_pickle" and constant is not False)


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if str(path.relative_to(SCRIPTS)) not in WRITING],
    ids=lambda path: str(path.relative_to(SCRIPTS)),
)
def test_files_are_written_through_the_atomic_writers_alone(path):
    for call in nodes(path, ast.Call):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        of_files = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "files"
        modes = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        assert name not in WRITERS or of_files or (name == "write_text" and isinstance(call.func, ast.Name))
        assert name != "open" or not any(set(mode) <= set("rwabxt+") and set(mode) & set("wax+") for mode in modes)


def test_the_list_of_writing_modules_is_not_out_of_date():
    assert {str(path.relative_to(SCRIPTS)) for path in FILES} >= WRITING
