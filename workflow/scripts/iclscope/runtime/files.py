"""Files and folders that appear whole or not at all."""

import glob
import hashlib
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iclscope.runtime import lock

_SEAL = b"iclscope-sha256:"
_DIGITS = 64
_BLANK = b"0" * _DIGITS
BLANK_SEAL = _SEAL + _BLANK
_PIECE = 2**20  # bytes


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` that replaces it once the block ends without an error."""
    path = _cleared(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o644)  # mkstemp makes it private
        lock.check_current()
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that replaces it once the block ends without an error."""
    path = _cleared(path)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield temporary
        temporary.chmod(0o755)
        for file in temporary.rglob("*"):
            _sync(file)
        lock.check_current()
        if path.exists():
            path.replace(path.with_name(f".{path.name}.old.part"))
        temporary.replace(path)
        _sync(path.parent)
        shutil.rmtree(path.with_name(f".{path.name}.old.part"), ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(path: str | Path) -> None:
    """Turn the `BLANK_SEAL` that a finished file must hold into the checksum of all its other bytes."""
    place, checksum = _checksum_of_the_rest(path)
    with Path(path).open("r+b") as file:
        file.seek(place)
        if file.read(_DIGITS) != _BLANK:
            raise ValueError(f"{path} holds no blank seal")
        file.seek(place)
        file.write(checksum)


def is_sealed(path: str | Path) -> bool:
    """Whether a file has a seal and not a byte of it has changed since."""
    place, checksum = _checksum_of_the_rest(path)
    with Path(path).open("rb") as file:
        file.seek(place)
        return file.read(_DIGITS) == checksum


def _checksum_of_the_rest(path: str | Path) -> tuple[int, bytes]:
    """Where the digits of a file's last seal stand, and the SHA-256 of all other bytes in such digits."""
    with Path(path).open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return 0, b"none"  # an empty file cannot be mapped
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            place = data.rfind(_SEAL) + len(_SEAL)
        hashed, left = hashlib.sha256(), place
        file.seek(0)
        while piece := file.read(min(left, _PIECE)):  # mapped, the whole file would count as this job's memory
            hashed.update(piece)
            left -= len(piece)
        file.seek(place + _DIGITS)
        while piece := file.read(_PIECE):
            hashed.update(piece)
    return place, hashed.hexdigest().encode()


def _cleared(path: str | Path) -> Path:
    """`path` in a folder that exists, without what jobs that were killed while writing it have left there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
    return path


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk, so that a rename cannot outrun its content."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
