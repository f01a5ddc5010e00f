"""The error a user can act on, and what others say that means the same."""

# What PyTorch says of memory, on a GPU and off it.
MEMORY_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "could not create a memory")


class StudyError(Exception):
    """Something the user can mend: one sentence that names the key, file or row and what to do."""


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its name where it has none: enough for a sentence."""
    return next(iter(str(error).splitlines()), type(error).__name__)
