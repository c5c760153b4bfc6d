"""Errors meant for the person at the keyboard: what happened, where, and what to do about it."""


class UserError(Exception):
    """A mistake or a missing thing that the user can mend.

    The message is one line that names the cause and the remedy. Commands print it without a traceback and exit
    with status 2 (see ``common.cli.run``); library callers may catch it like any exception.
    """


def require(holds: bool, message: str) -> None:
    """Raises UserError with ``message`` unless something holds, for options that are checked one after the other."""
    if not holds:
        raise UserError(message)
