"""The one thread that touches the server's socket: messages in, in bounded turns, and answers out.

ZeroMQ hands over messages of the connections that have some in turn. What is read at a time is bounded, and so is the
share of time spent reading when there is always more: a flood fills its own connection's queue and is held up there,
by TCP, while answers go out and the policy has the processor.
"""

import contextlib
import logging
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable

import zmq

from robot_bridge.logs import fields
from robot_bridge.serving.connections import Connections

TURN_MESSAGES = 32
TURN_SECONDS = 0.005
"""Reading pauses after so many messages or so long, whichever comes first."""
PAUSE = 4.0
"""The pause after a turn that did not get to the end of what has arrived, in durations of that turn."""

log = logging.getLogger("robot_bridge.server")


class Door:
    """Reads from ``router`` and passes every message to ``handle(peer, frames)``, which must not raise.

    ``send`` and ``stop`` may be called from any thread; ``lost`` counts answers that could not be sent.
    """

    def __init__(self, router: zmq.Socket, connections: Connections, handle: Callable[[bytes, list[bytes]], None]):
        self._router = router
        self._connections = connections
        self._handle = handle
        self.lost = 0
        self._outgoing: deque[tuple[bytes, list[bytes]]] = deque()
        self._stopping = False
        self._asleep = False
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)

    def send(self, peer: bytes, frames: list[bytes]) -> None:
        """Lets a message go out to ``peer``."""
        self._outgoing.append((peer, frames))
        if self._asleep:
            self._ring()

    def stop(self) -> None:
        """Lets ``run`` send what there is to send and return."""
        self._stopping = True
        self._ring()

    def run(self) -> None:
        """Reads and sends until ``stop``."""
        with selectors.DefaultSelector() as arrivals, selectors.DefaultSelector() as answers:
            for source in (self._router.FD, self._wake, self._connections):
                arrivals.register(source, selectors.EVENT_READ)
            answers.register(self._wake, selectors.EVENT_READ)
            while True:
                begun = time.monotonic()
                crowded = self._connections.update() | self._read_turn(begun + TURN_SECONDS)
                stopping = self._stopping  # first, so that nothing is left behind
                self._send_all()
                if stopping:
                    return
                if crowded:
                    self._sleep(answers, PAUSE * (time.monotonic() - begun))
                # The socket's file only tells of what is new since anybody used the socket, and sending is a use.
                elif not int(self._router.getsockopt(zmq.EVENTS)) & int(zmq.POLLIN):
                    self._sleep(arrivals, None)

    def close(self) -> None:
        """Frees what the door itself opened; after ``run``."""
        self._wake.close()
        self._waker.close()

    def _read_turn(self, ends: float) -> bool:
        """Takes in what has arrived, within bounds; True when there may be more."""
        for _ in range(TURN_MESSAGES):
            try:
                peer, *frames = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return False
            # A REQ socket puts an empty frame before its message, and so does our client.
            self._handle(peer, frames[1:] if frames and not frames[0] else frames)
            if time.monotonic() > ends:
                break
        return True

    def _send_all(self) -> None:
        """A client that is gone or never reads loses its answers; nobody else notices."""
        while self._outgoing:
            peer, frames = self._outgoing.popleft()
            try:
                self._router.send_multipart([peer, b"", *frames], zmq.NOBLOCK)
            except zmq.ZMQError as error:
                self.lost += 1
                log.warning("reply lost", extra=fields(peer=peer.hex(), reason=str(error)))

    def _sleep(self, selector: selectors.BaseSelector, longest: float | None) -> None:
        """Until something ``selector`` watches happens, or an answer is to be sent."""
        self._asleep = True  # from here on ``send`` rings; what it added before is seen on the next line
        if not self._outgoing:
            selector.select(longest)
            with contextlib.suppress(BlockingIOError):
                self._wake.recv(4096)
        self._asleep = False

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # a full pipe wakes it as well
            self._waker.send(b"!")
