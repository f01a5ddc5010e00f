"""The error a user can act on."""


class StudyError(Exception):
    """Something the user can mend: one sentence that names the key, file or row and what to do."""
