"""The JavaScript in the pages is what its lock file pins."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

VENDOR = Path(__file__).parents[3] / "workflow/scripts/iclscope/report/vendor"
LOCK = json.loads((VENDOR / "package-lock.json").read_text(encoding="utf-8"))["packages"]


def test_versions_are_pinned_exactly_and_locked_by_checksum():
    wanted = json.loads((VENDOR / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert {name: LOCK[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all(re.match("sha512-", entry["integrity"]) for name, entry in LOCK.items() if name)
    assert f"DataTables {wanted['datatables.net']}" in (VENDOR / "dataTables.min.js").read_text(encoding="utf-8")[:80]


def test_files_are_those_of_the_locked_packages(tmp_path):
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: the files cannot be compared with their packages")
    for file in ("package.json", "package-lock.json"):
        shutil.copy(VENDOR / file, tmp_path)
    for words in (["ci", "--ignore-scripts", "--no-audit", "--no-fund"], ["run", "vendor"]):
        subprocess.run(["npm", *words, "--silent"], cwd=tmp_path, check=True, timeout=120)
    for file in [*tmp_path.glob("*.js"), tmp_path / "licences.txt"]:
        assert (VENDOR / file.name).read_bytes() == file.read_bytes(), f"run in {VENDOR}: npm ci && npm run vendor"
