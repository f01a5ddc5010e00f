"""What comes next, made while what came before is worked on."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(values: Iterable[T]) -> Iterator[T]:
    """Yield `values` in their order, the next one made by a thread meanwhile; an error comes when its turn does."""
    with ThreadPoolExecutor(1) as thread:
        iterator, end = iter(values), object()
        coming = thread.submit(next, iterator, end)
        while (value := coming.result()) is not end:
            coming = thread.submit(next, iterator, end)
            yield value  # type: ignore[misc]
