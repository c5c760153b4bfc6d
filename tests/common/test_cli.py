"""Numbers on command lines, and how commands end."""

import argparse
import signal
import subprocess
import sys
import textwrap

import pytest

from common.cli import not_negative, positive


def ended(body: str, *arguments: str) -> tuple[int, str]:
    """Status and stderr of a command whose ``main(argv)`` has this body."""
    lines = ["import os, signal, sys", "from common import cli", "def main(argv):", textwrap.indent(body, "    ")]
    command = [sys.executable, "-c", "\n".join([*lines, "cli.run(main)"]), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_an_error_of_the_system_is_one_line_that_names_the_file():
    assert ended("open('/no/such/file')") == (2, "error: /no/such/file: No such file or directory\n")
    status, said = ended("open('/no/such/file')", "--debug")
    assert status == 1
    assert "Traceback" in said


def test_an_error_of_the_system_without_a_file_is_one_line_too():
    assert ended("os.write(os.open('/dev/full', os.O_WRONLY), b'x')") == (2, "error: No space left on device\n")
    assert ended("raise OSError('one\\ntwo')") == (2, "error: one two\n")


def test_sigterm_lets_a_command_clean_up():
    body = "try:\n    os.kill(os.getpid(), signal.SIGTERM)\nfinally:\n    print('cleaned up', file=sys.stderr)"
    assert ended(body) == (130, "cleaned up\ninterrupted\n")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_counts_are_whole_numbers():
    assert (positive("1"), positive("20"), not_negative("0"), not_negative("7")) == (1, 20, 0, 7)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "one", ""])
def test_what_does_not_count_is_named(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number above 0"):
        positive(text)


@pytest.mark.parametrize("text", ["-1", "0.5", "none", ""])
def test_what_does_not_number_is_named(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number from 0"):
        not_negative(text)
