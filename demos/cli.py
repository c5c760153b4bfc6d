"""The one way in which every command starts: user errors become one line on stderr and exit status 2."""

import sys
from collections.abc import Callable

from demos.errors import UserError


def run(main: Callable[[list[str]], int | None]) -> None:
    """Run ``main(argv)`` and exit with its status.

    ``--debug`` anywhere on the command line is taken out of ``argv`` and lets tracebacks through.
    A ``UserError`` is printed as ``error: ...`` and exits 2; Ctrl-C exits 130.
    """
    argv = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(argv) < len(sys.argv) - 1
    try:
        status = main(argv)
    except UserError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        if debug:
            raise
        print("interrupted", file=sys.stderr)
        status = 130
    sys.exit(status or 0)
