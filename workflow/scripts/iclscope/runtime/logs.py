"""What a stage says while it works: a log file per job, and a progress bar on the terminal or in the log."""

import logging
import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 5.0

logger = logging.getLogger("iclscope")


@contextmanager
def to_file(path: str | Path) -> Iterator[None]:
    """Send the package's log to `path`, and everything from warnings up to standard error too."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).unlink(missing_ok=True)  # a job that outlived its run may still write to the old one
    file = logging.FileHandler(path, mode="w", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.WARNING)
    terminal.addFilter(lambda record: not record.exc_info)  # Python itself prints the error that ends a job
    terminal.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.setLevel(logging.INFO)
    logger.addHandler(file)
    logger.addHandler(terminal)
    try:
        yield
    finally:
        for handler in (file, terminal):
            logger.removeHandler(handler)
            handler.close()


def tell(line: str) -> None:
    """Say a line to the log and to the terminal."""
    logger.info(line)
    tqdm.write(line, file=sys.stderr)


class _LogStream:
    """A text stream that turns each new state of a progress bar into one line of the log."""

    last = ""

    def write(self, text: str) -> None:
        line = text.strip()
        if line and line != self.last:
            self.last = line
            logger.info(line)

    def flush(self) -> None:
        pass


def bar(total: int | None, description: str, unit: str = "it") -> tqdm:
    """A progress bar to be advanced with `update(n)`: on a terminal, or as a log line every few seconds."""
    on_terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=description,
        unit=f" {unit}",
        file=sys.stderr if on_terminal else _LogStream(),
        mininterval=0.2 if on_terminal else SECONDS_BETWEEN_LINES,
        maxinterval=SECONDS_BETWEEN_LINES,
        ascii=not on_terminal,
        ncols=None if on_terminal else 100,
        leave=True,
    )


def progress(iterable: Iterable[T], total: int | None = None, description: str = "", unit: str = "it") -> Iterator[T]:
    """Yield from `iterable` while a progress bar counts."""
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with bar(total, description, unit) as counter:
        for value in iterable:
            yield value
            counter.update()
