"""A limit on connections, kept below the process's limit on open files.

At that limit the system refuses to hand a new connection over but goes on announcing it, and ZeroMQ's thread would ask
again and again on a whole core. So the server closes what comes beyond, and always has a few files left.
"""

import logging
import os
import resource
import socket

import zmq
from zmq.utils.monitor import recv_monitor_message

from robot_bridge.logs import fields

MOST = 1024
RESERVE = 48
"""Files left for everything else: the metrics' HTTP connections, models, logs."""
EVENTS = 256
"""Events taken in at a time."""
_GONE = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
_WATCHED = zmq.EVENT_ACCEPTED | _GONE

log = logging.getLogger("robot_bridge.server")


class Connections:
    """Counts the connections of ``listener``, which is not bound yet, and closes those beyond ``most``.

    Belongs to the thread that uses ``listener``; ``fileno`` is for its selector.
    """

    def __init__(self, listener: zmq.Socket, most: int | None = None):
        self._most = room() if most is None else most
        self._events = listener.get_monitor_socket(_WATCHED)
        self._listener = listener
        self._open: set[int] = set()

    def __len__(self) -> int:
        return len(self._open)

    def fileno(self) -> int:
        """Readable when ``update`` has something to do."""
        return int(self._events.getsockopt(zmq.FD))

    def update(self) -> bool:
        """Takes in who came and went. True when there may be more to take in."""
        for _ in range(EVENTS):
            try:
                event = recv_monitor_message(self._events, zmq.NOBLOCK)
            except zmq.Again:
                return False
            if event["event"] & _GONE:
                self._open.discard(event["value"])
            else:
                self._open.add(event["value"])
                if len(self._open) > self._most:
                    log.warning("too many connections", extra=fields(most=self._most))
                    _shut(event["value"])
        return True

    def close(self) -> None:
        """Stops watching, before ``listener`` is closed."""
        self._listener.disable_monitor()
        self._events.close(linger=0)


def room() -> int:
    """How many connections the limit on open files leaves room for, at most ``MOST``."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST
    taken = len(os.listdir("/dev/fd"))  # also on systems without /proc
    return max(1, min(MOST, soft - taken - RESERVE))


def _shut(number: int) -> None:
    """Ends the connection behind a file that ZeroMQ owns and will close."""
    try:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=number)
    except OSError:
        return  # it has gone by itself
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # likewise
    finally:
        connection.detach()
