"""Real-time priority, tried in processes of its own: it would outlast a test."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import logging, os, threading
{before}
from robot_bridge.realtime import prefer_this_process
logging.basicConfig()
preferred = prefer_this_process({priority})
inherited = []
thread = threading.Thread(target=lambda: inherited.append(os.sched_getscheduler(0) == os.SCHED_FIFO))
thread.start()
thread.join()
print(preferred, os.sched_getscheduler(0) == os.SCHED_FIFO, inherited[0])
"""
NO_RIGHT = "import resource; resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0)); os.setuid(65534)"

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_FIFO"), reason="Linux only")


def outcome(priority: int, before: str = "") -> subprocess.CompletedProcess:
    program = PROGRAM.format(priority=priority, before=before)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_the_process_is_preferred_with_all_its_later_threads_or_says_how_to_get_the_right():
    done = outcome(20)
    if done.stdout == "True True True\n":
        assert done.stderr == ""
    else:
        assert done.stdout == "False False False\n"
        assert "limits.conf" in done.stderr


def test_priority_zero_leaves_the_scheduling_alone():
    assert outcome(0).stdout == "False False False\n"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give up its rights")
def test_without_the_right_the_loop_runs_all_the_same_and_says_how_to_get_it(monkeypatch):
    done = outcome(20, NO_RIGHT)
    assert done.stdout == "False False False\n"
    assert "@realtime - rtprio" in done.stderr
