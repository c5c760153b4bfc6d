"""The one way in which every command starts: its parser, and user errors as one line on stderr with exit status 2.

Numbers on a command line have the types ``positive`` and ``not_negative``.
"""

import argparse
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from common.errors import UserError


class CommandParser(argparse.ArgumentParser):
    """The parser of one command, ``python -m MODULE``. A mistake on the command line is a ``UserError``.

    The first paragraph of ``doc`` (the module's docstring) describes the command; the others stand below its options.
    """

    def __init__(self, module: str, doc: str | None) -> None:
        description, *rest = (doc or "").strip().split("\n\n")
        super().__init__(
            prog=f"python -m {module}",
            description=description,
            epilog="\n\n".join(rest),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def positive(text: str) -> int:
    """The type of an argument that counts at least one: a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def positive_number(text: str) -> float:
    """A command line's number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def not_negative(text: str) -> int:
    """The type of an argument that counts or numbers from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def add_device(parser: argparse.ArgumentParser) -> None:
    """``--device``, for commands that compute with torch on the CPU unless told otherwise."""
    parser.add_argument("--device", default="cpu", help="of torch (default cpu)")


def in_a_line(error: OSError) -> str:
    """What the system refused, and where.

    >>> in_a_line(OSError(28, "No space left on device", "results.json"))
    'results.json: No space left on device'
    """
    said = error.strerror or str(error)
    return " ".join(f"{error.filename}: {said}".split() if error.filename is not None else said.split())


def run(main: Callable[[list[str]], int | None]) -> None:
    """Run ``main(argv)`` and exit with its status.

    ``--debug`` anywhere on the command line is taken out of ``argv`` and lets tracebacks through.
    A ``UserError``, or an error of the system (a full disk, a folder that may not be written), is printed as
    ``error: ...`` and exits 2; Ctrl-C and SIGTERM exit 130, after the command has cleaned up.
    """
    argv = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(argv) < len(sys.argv) - 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = main(argv)
    except UserError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except OSError as error:
        if debug:
            raise
        print(f"error: {in_a_line(error)}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        if debug:
            raise
        print("interrupted", file=sys.stderr)
        status = 130
    sys.exit(status or 0)
