"""Whether a request would be answered: asks the server as a client does, by the same door."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import zmq

from policy.remote import wire
from policy.remote.names import STATE, TASK
from robot_bridge.serving.observation import InputSpec

PROVEN = 10.0
"""Seconds for which an answer of the policy proves that it answers; after that it is asked."""
TIMEOUT = 5.0


class Health:
    """``reason()`` says why a request would not be answered, and None when one was.

    ``address`` is the server's door inside this process. ``answered_at`` tells when the policy last gave an answer.
    """

    def __init__(
        self,
        context: zmq.Context,
        address: str,
        spec: InputSpec,
        token: str | None,
        instruction: str,
        answered_at: Callable[[], float],
    ):
        self._context, self._address = context, address
        self._answered_at = answered_at
        common = {"v": wire.VERSION, "api_token": token, "deadline": TIMEOUT}
        shape = (1, 1, *spec.image_size, 3)
        observation = {
            "video": {view: np.zeros(shape, np.uint8) for view in spec.views},
            "state": {STATE: np.zeros((1, 1, spec.embodiment.state_width), np.float32)},
            "language": {TASK: [[instruction]]},
        }
        self._ping = wire.encode({**common, "endpoint": "ping"})
        self._request = wire.encode({**common, "endpoint": "get_action", "data": {"observation": observation}})
        self._one_at_a_time = threading.Lock()

    def reason(self) -> str | None:
        """Pings, and asks the policy when nobody else has of late. Takes ``TIMEOUT`` seconds at most for each."""
        with self._one_at_a_time:
            if error := self._ask(self._ping):
                return f"ping: {error}"
            if time.monotonic() - self._answered_at() > PROVEN and (error := self._ask(self._request)):
                return f"get_action: {error}"
        return None

    def _ask(self, frames: list[bytes]) -> str | None:
        """The error in the reply, or that there is none."""
        try:
            with self._context.socket(zmq.DEALER) as socket:
                socket.linger = 0
                socket.connect(self._address)
                socket.send_multipart([b"", *frames])
                if not socket.poll(int(TIMEOUT * 1000)):
                    return f"no answer within {TIMEOUT:g} s"
                reply: Any = wire.parse(socket.recv_multipart()[1:])
        except zmq.ZMQError as error:  # the server has closed its door
            return str(error)
        return reply.get("error")
