"""Standard output whose reader may go away."""

import os
import sys


def forget_output() -> None:
    """After a :class:`BrokenPipeError`: the reader (head, less) went away, and nothing is left to flush to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
