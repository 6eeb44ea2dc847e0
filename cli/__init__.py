"""The command line. Every command imports what it needs when it runs, so that ``sysmol --help`` answers at once.

Exit status: 0 done; 1 a check found a difference; 2 bad input, a missing tool or file, no place to write (one line on
the standard error stream); 130 interrupted.
"""

import sys
from typing import Annotated

import typer

from sysmol import __version__
from sysmol.cli import (
    chain,
    costs,
    facts,
    hwcost,
    installation,
    interchange,
    kernels,
    quantisation,
    results,
    searching,
    simulation,
    spaces,
    tables,
    training,
)
from sysmol.errors import CheckFailed, SysmolError
from sysmol.files import remove_empty_folders
from sysmol.output import forget_output

INTERRUPTED = 130

app = typer.Typer(
    name="sysmol",
    help="Co-design of ultra-low-precision neural networks and the CPU that runs them, on gem5.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def print_version(asked: bool) -> None:
    if asked:
        print(f"sysmol {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


# In the order of the help text.
for group in (
    chain,
    training,
    quantisation,
    kernels,
    simulation,
    costs,
    hwcost,
    spaces,
    searching,
    facts,
    interchange,
    results,
    installation,
):
    app.add_typer(group.commands)


def fail(message: object, status: int) -> int:
    """One line on the standard error stream, and no folder without content; returns the status."""
    remove_empty_folders()
    tables.forget()
    print("sysmol: " + " ".join(str(message).split()), file=sys.stderr)
    return status


def usage(message: str) -> str:
    """A usage error in our words."""
    if "'--gem5' requires" in message:
        return "--gem5 takes the path of a binary: gem5 is used wherever it is found; --no-gem5 leaves it out"
    return message.replace("Value error, ", "")


def run_command_line(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status. Everything that users can cause becomes one line."""
    try:
        status = app(args=arguments, standalone_mode=False)
        tables.finish()
        sys.stdout.flush()
        if status == INTERRUPTED:  # the argument parser turns the interrupt into this status itself
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except CheckFailed as error:
        return fail(error, 1)
    except SysmolError as error:
        return fail(error, 2)
    except BrokenPipeError:
        forget_output()
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return fail(f"{where}{error.strerror or error}", 2)
    except KeyboardInterrupt:
        return fail("interrupted; the same command goes on where it stopped", INTERRUPTED)
    except Exception as error:
        # Usage errors of the argument parser (typer carries its own copy of click, or imports it: no common class).
        message = getattr(error, "format_message", None)
        if message is not None and not message():
            return 2  # no command: the help text has been printed
        if message is not None:
            return fail(f"{usage(message())} (see sysmol --help)", 2)
        raise


def main() -> None:
    """Entry point of the ``sysmol`` program."""
    sys.exit(run_command_line())
