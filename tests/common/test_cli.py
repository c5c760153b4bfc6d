"""Numbers on command lines."""

import argparse

import pytest

from common.cli import not_negative, positive


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
