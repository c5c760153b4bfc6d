"""Topics and services of ROS 2 over a websocket: rosbridge's protocol v2, in JSON, over a connection that comes back.

https://github.com/RobotWebTools/rosbridge_suite/blob/ros2/ROSBRIDGE_PROTOCOL.md
"""

import contextlib
import itertools
import json
import logging
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.errors import UserError
from robot_bridge.drivers.driver import ArmFault

RETRY = 0.25
"""Seconds between two attempts to connect."""
PATIENCE = 2.0
"""Seconds to wait for a connection, and for the answer of a service."""

log = logging.getLogger("robot_bridge.driver")


@dataclass(frozen=True)
class Subscription:
    """``listener`` hears of every message of ``topic`` and when it came (monotonic s), in the connection's thread.

    Messages come ``throttle`` (ms) apart at least.
    """

    topic: str
    kind: str
    listener: Callable[[dict[str, Any], float], None]
    throttle: int = 0


class RosBridge:
    """A connection to the rosbridge at ``url``, such as ws://192.168.1.20:9090, made again whenever it is lost.

    ``advertised`` are the topics that will be published, with their types. ``refusal`` is the last error that the
    bridge has sent since ``forgive``; empty for none.

    Raises:
        UserError: the package websockets is missing, or ``url`` is none.
        ArmFault: nobody answers there.
    """

    def __init__(self, url: str, subscription: Subscription, advertised: dict[str, str]):
        try:
            from websockets.exceptions import WebSocketException
            from websockets.sync.client import connect
            from websockets.uri import parse_uri
        except ImportError:
            raise UserError("the package websockets is missing: pip install 'amplify-deploy[ros2]'") from None
        try:
            parse_uri(url)
        except WebSocketException as error:
            raise UserError(f"{error}; a bridge is written ws://192.168.1.20:9090") from None
        self._connect, self._url, self._errors = connect, url, (OSError, WebSocketException)
        self._subscription, self._advertised = subscription, advertised
        self._connection: Any = None
        self._numbers = itertools.count(1)
        self._answers: dict[str, queue.SimpleQueue[dict[str, Any]]] = {}
        self.refusal = ""
        self._trouble = "no answer"
        self._there, self._ends = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="rosbridge", daemon=True)
        self._thread.start()
        try:
            self.wait()
        except ArmFault:
            self.close()
            raise

    def wait(self) -> None:
        """Until it is connected; ``ArmFault`` when it is not within ``PATIENCE``."""
        if not self._there.wait(PATIENCE):
            raise ArmFault(f"no rosbridge at {self._url}: {self._trouble}")

    def publish(self, topic: str, message: dict[str, Any]) -> None:
        """A message on an advertised topic; ``ArmFault`` while there is no connection."""
        self._send({"op": "publish", "topic": topic, "msg": message})

    def call(self, service: str) -> dict[str, Any]:
        """What a service without arguments answers; ``ArmFault`` when it is not there."""
        number = str(next(self._numbers))
        answers = self._answers[number] = queue.SimpleQueue()
        try:
            self._send({"op": "call_service", "id": number, "service": service})
            answer = answers.get(timeout=PATIENCE)
        except queue.Empty:
            raise ArmFault(f"the service {service} does not answer") from None
        finally:
            del self._answers[number]
        if not answer.get("result"):
            raise ArmFault(f"the service {service}: {answer.get('values')}")
        return answer["values"]

    def forgive(self) -> None:
        """What the bridge has refused is of no account any more."""
        self.refusal = ""

    def drop(self) -> None:
        """Lets go of the connection with all that is still to be sent: late commands must not move an arm."""
        connection, self._connection = self._connection, None
        self._there.clear()
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends the connection for good, with what was published sent."""
        self._ends.set()
        if (connection := self._connection) is not None:
            connection.close()
        self._thread.join(2)

    def _send(self, message: dict[str, Any]) -> None:
        connection = self._connection
        if connection is None:
            raise ArmFault(f"rosbridge: {self._trouble}")
        try:
            connection.send(json.dumps(message))
        except self._errors as error:
            raise ArmFault(f"rosbridge: {error}") from None

    def _work(self) -> None:
        while not self._ends.is_set():
            try:
                with self._connect(
                    self._url, compression=None, proxy=None, open_timeout=PATIENCE, close_timeout=RETRY
                ) as connection:
                    self._greet(connection)
                    for text in connection:
                        self._take(text, time.monotonic())
                self._trouble = "the bridge has closed the connection"
            except self._errors as error:
                self._trouble = str(error) or "no answer"
            self._there.clear()
            self._connection = None
            self._ends.wait(RETRY)

    def _greet(self, connection: Any) -> None:
        for topic, kind in self._advertised.items():
            connection.send(json.dumps({"op": "advertise", "topic": topic, "type": kind}))
        wanted = self._subscription
        subscribe = {"op": "subscribe", "topic": wanted.topic, "type": wanted.kind, "throttle_rate": wanted.throttle}
        connection.send(json.dumps(subscribe))
        self._connection = connection
        self._there.set()

    def _take(self, text: str | bytes, arrived: float) -> None:
        try:
            message = json.loads(text)
            operation = message["op"]
            if operation == "publish" and message["topic"] == self._subscription.topic:
                self._subscription.listener(message["msg"], arrived)
            elif operation == "service_response" and (answers := self._answers.get(message.get("id", ""))) is not None:
                answers.put(message)
            elif operation == "status" and message.get("level") == "error":
                self.refusal = str(message.get("msg"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("rosbridge sent what cannot be read: %s", error)
