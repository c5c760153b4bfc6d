"""Real-time scheduling for the control loop's process, so that a busy machine does not make its ticks late."""

import logging
import os
import sys

DEFAULT_PRIORITY = 20
"""Above everything ordinary, below the kernel's interrupt threads (50)."""

log = logging.getLogger("robot_bridge.realtime")


def prefer_this_process(priority: int = DEFAULT_PRIORITY) -> bool:
    """Schedules this thread, and every one it starts from now on, first in, first out (Linux ``SCHED_FIFO``).

    ``priority`` is 1 to 99; 0 leaves the scheduling alone. Without the right to it, the loop runs as an ordinary
    process and the log says how to get the right. Returns whether the process is preferred now.
    """
    if priority == 0:
        return False
    # A thread that wakes up asks for the interpreter after this long (s); the default, 5 ms, is late for a tick.
    sys.setswitchinterval(0.0005)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except AttributeError:
        log.warning("this system has no SCHED_FIFO: ticks can come late when other processes are busy")
    except PermissionError:
        log.warning(
            "no right to real-time priority: ticks can come late when other processes are busy; add "
            "'@realtime - rtprio 99' to /etc/security/limits.conf, join that group and log in again"
        )
    else:
        return True
    return False
