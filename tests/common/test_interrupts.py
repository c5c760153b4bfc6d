"""Interrupts wait while a process is started."""

import os
import signal
import subprocess
import sys

import pytest

from common.interrupts import held_back


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_comes_when_the_block_has_ended(number: signal.Signals):
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    reached = []

    def interrupted_twice() -> None:
        with held_back():
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            reached.append("the end of the block")

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted_twice()
        assert reached
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_without_an_interrupt_nothing_happens():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with held_back():
        pass
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_process_that_was_started_hears_sigterm_and_not_ctrl_c():
    with held_back():
        process = subprocess.Popen(
            [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"], stdout=-1
        )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == -signal.SIGTERM
