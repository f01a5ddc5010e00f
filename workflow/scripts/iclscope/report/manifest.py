"""The SHA-256 of every result, in the format of `sha256sum`, and the comparison with what is there now.

python -m iclscope.report.manifest results
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import sha256, write_text

NAME = "SHA256SUMS"


def run(manifest_out: str | Path) -> None:
    """Write the manifest of all files in its folder; unfinished and hidden ones do not count."""
    lines = [f"{checksum}  {name}\n" for name, checksum in _checksums(Path(manifest_out).parent).items()]
    write_text(manifest_out, "".join(lines))


def differences(folder: str | Path) -> dict[str, str]:
    """What is wrong with the results in `folder`: file → changed, empty, missing or unknown."""
    manifest = Path(folder) / NAME
    try:
        lines = manifest.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise StudyError(f"{manifest} does not exist; a run that finishes writes it") from error
    wanted = {name: checksum for checksum, _, name in (line.partition("  ") for line in lines)}
    found = _checksums(Path(folder))
    wrong = {
        name: "missing" if name not in found else "changed" if (Path(folder) / name).stat().st_size else "empty"
        for name, checksum in wanted.items()
        if found.get(name) != checksum
    }
    return wrong | dict.fromkeys(found.keys() - wanted.keys(), "unknown")


def report(folder: str | Path, wrong: Mapping[str, str]) -> str:
    """What to tell about the results in a folder, and the commands that make damaged ones again."""
    if not wrong:
        return f"every file in {folder} is as the last whole run left it"
    listed = "\n".join(f"  {what:8}{folder}/{name}" for name, what in sorted(wrong.items()))
    damaged = [f"{folder}/{name}" for name, what in sorted(wrong.items()) if what != "unknown"]
    advice = (
        f"\nto make the damaged ones again, and nothing else:\n  rm -f {' '.join(damaged)}\n"
        f"  snakemake {' '.join(damaged)}"
        if damaged
        else ""
    )
    return f"{len(wrong)} files in {folder} are not as the last whole run left them:\n{listed}{advice}"


def _checksums(folder: Path) -> dict[str, str]:
    """Relative path → SHA-256 of every file but the manifest itself, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / NAME)
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: sha256(path) for name, path in names.items() if not any(p.startswith(".") for p in name.split("/"))}


def main(folder: str) -> int:
    """Tell whether the results in `folder` are whole; returns the exit code."""
    try:
        wrong = differences(folder)
    except StudyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(report(folder.rstrip("/"), wrong) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
