"""The one exception that users see: a single line that names what is wrong and how to put it right."""

LONGEST = 2000
"""Characters of a message."""


def one_line(text: str) -> str:
    """A message on one line: what a file or a name brought along that a terminal would obey is escaped, what is too
    long is left out in its middle."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST * 3 // 4]} ... {text[-LONGEST // 5 :]}"
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class SysmolError(Exception):
    """Bad input or a missing tool. ``str(error)`` is one line; the command line prints it and exits with status 2."""

    def __init__(self, text: str = "") -> None:
        super().__init__(one_line(text))


class CheckFailed(SysmolError):
    """A verification ran and found a difference. The command line prints the line and exits with status 1."""
