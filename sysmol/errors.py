"""The one exception that users see: a single line that names what is wrong and how to put it right."""


class SysmolError(Exception):
    """Bad input or a missing tool. ``str(error)`` is one line; the command line prints it and exits with status 2."""


class CheckFailed(SysmolError):
    """A verification ran and found a difference. The command line prints the line and exits with status 1."""
