"""The part of a driver that all arms share: the two sockets, whom to follow, when to brake, when to rest.

What is special about an arm is behind ``Arm``; ``robot_bridge/drivers/franka.py`` is one.
"""

import argparse
import contextlib
import logging
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import zmq

from common.cli import positive_number
from common.conventions import CONTROL_FREQUENCY
from common.errors import UserError
from robot_bridge import logs
from robot_bridge.drivers.protocol import ProtocolError, RobotState, pack_state
from robot_bridge.drivers.reception import Reception
from robot_bridge.drivers.reference import Reference
from robot_bridge.realtime import DEFAULT_PRIORITY, prefer_this_process

PERIOD = 0.004
"""Seconds between two commands to the arm's own servo."""
STATE_PERIOD = 0.006
"""Seconds between two states on the wire at least: an arm that is slow to answer must not come below 100 Hz."""

log = logging.getLogger("robot_bridge.driver")


class ArmFault(Exception):
    """The arm stopped itself, or is out of reach; the text says why."""


@dataclass(frozen=True)
class Measured:
    """What an arm is doing: q (n,) rad, dq (n,) rad/s, fingers (f,) m, or whatever units its ``robot.yaml`` names."""

    q: np.ndarray
    dq: np.ndarray
    fingers: np.ndarray
    at: float | None = None
    """Monotonic time (s) of the measurement; None: it was made when it was asked for."""


class Arm(Protocol):
    """An arm and its gripper. All methods belong to one thread and raise ``ArmFault`` when the arm does not obey."""

    velocity: np.ndarray
    """(n,) rad/s that no joint may exceed."""
    braking: float
    """Rad/s^2 that every joint can slow down with at any time."""

    def measure(self) -> Measured:
        """Where it is now; ``ArmFault`` as long as a fault of the arm's own is not cleared."""
        ...

    def steer(self, q: np.ndarray, dq: np.ndarray) -> None:
        """Where its servo should be now; called every ``PERIOD`` while it moves."""
        ...

    def rest(self) -> None:
        """Holds by its own means; called once when it is to stand."""
        ...

    def fingers(self, opening: float) -> None:
        """Where each finger should be, m; returns at once."""
        ...

    def recover(self) -> None:
        """A person says that the cause of a fault is gone; connects anew if it must."""
        ...

    def close(self) -> None:
        """Lets go of the arm, which holds."""
        ...


class Driver:
    """Speaks the robot protocol for ``arm``, with one gripper or none, at two addresses until ``stop``.

    ``period`` (s) is the control period of the loop. ``dry``: targets are received and told, the arm is not moved.

    Raises:
        UserError: an address cannot be had.
        ArmFault: the arm cannot be reached at the start.
    """

    def __init__(self, arm: Arm, state_address: str, target_address: str, period: float, dry: bool = False):
        self._arm, self._dry = arm, dry
        self._measured = arm.measure()
        self._reference = Reference(self._measured.q, period, arm.velocity, arm.braking)
        self._reception = Reception(len(self._measured.q), int(len(self._measured.fingers) > 0))
        self._began = time.monotonic()
        self._fault = ""
        self._driven = False
        self._rests = True
        self._sequence = 0
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        context: zmq.Context = zmq.Context.instance()
        self._out, self._in = context.socket(zmq.PUB), context.socket(zmq.SUB)
        self._out.setsockopt(zmq.LINGER, 0)
        self._out.setsockopt(zmq.SNDHWM, 100)
        self._in.setsockopt(zmq.CONFLATE, 1)
        self._in.subscribe(b"")
        try:
            self._out.bind(state_address)
            self._in.bind(target_address)
        except zmq.ZMQError as error:
            raise UserError(f"the driver cannot listen: {error}; choose other addresses") from None

    def run(self) -> None:
        """Until ``stop``; then the arm rests."""
        due = told = time.monotonic()
        newest = -np.inf
        try:
            while not self._stopping.is_set():
                now = time.monotonic() - self._began
                self._listen(now)
                try:
                    self._act(now)
                except ArmFault as fault:
                    self._fail(str(fault))
                now = time.monotonic()
                at = now if self._fault or self._measured.at is None else self._measured.at
                if now - told >= STATE_PERIOD - PERIOD / 2 and at > newest:  # what repeats is no state
                    told, newest = now, at
                    self._tell(now - self._began, at - self._began)
                due = max(due + PERIOD, time.monotonic() - PERIOD)
                time.sleep(max(0.0, due - time.monotonic()))
        finally:
            self._arm.close()
            self._out.close()
            self._in.close(linger=0)

    def stop(self) -> None:
        """Ends ``run``. Safe in a signal handler."""
        self._stopping.set()

    def recover(self) -> None:
        """A person says that the cause of a fault is gone. From any thread."""
        self._orders.put(self._recover)

    def _recover(self) -> None:
        self._arm.recover()
        self._measured = self._arm.measure()
        self._fault = ""
        print("recovered; reset the loop to go on", flush=True)

    def _listen(self, now: float) -> None:
        with contextlib.suppress(zmq.Again):
            try:
                target = self._reception.take(self._in.recv(zmq.NOBLOCK), now)
            except ProtocolError as error:
                log.warning("target dropped: %s", error)
            else:
                if target is not None and not self._fault:
                    if self._dry:
                        joints = " ".join(f"{value:+.4f}" for value in target.q)
                        print(f"{target.sequence} [{joints}] fingers {target.openings.round(3).tolist()}", flush=True)
                    else:
                        self._reference.follow(target, now, self._measured.q)
                        if not target.stop and len(target.openings):
                            self._arm.fingers(float(target.openings[0]))
        driven = self._reception.session(now) != 0
        if self._driven and not driven:
            self._reference.lose()
        self._driven = driven

    def _act(self, now: float) -> None:
        with contextlib.suppress(queue.Empty):
            self._orders.get_nowait()()
        if self._fault:
            return
        self._measured = self._arm.measure()
        self._reference.settle(now, self._measured.dq)
        if not self._reference.resting:
            self._arm.steer(*self._reference.at(now))
        elif not self._rests:
            self._arm.rest()
        self._rests = self._reference.resting

    def _fail(self, fault: str) -> None:
        """The fault stays until a person has it cleared."""
        if fault != self._fault:
            print(f"fault: {fault}; type recover when its cause is gone", file=sys.stderr, flush=True)
        self._fault, self._rests = fault, True
        self._reference.abandon()

    def _tell(self, now: float, at: float) -> None:
        self._sequence += 1
        measured, reception = self._measured, self._reception
        receipt = (reception.boot, reception.session(now), reception.last_sequence)
        state = RobotState(self._sequence, at, measured.q, measured.dq, measured.fingers, self._fault, *receipt)
        self._out.send_multipart(pack_state(state), zmq.NOBLOCK)


def operate(driver: Driver) -> None:
    """Runs ``driver`` under a person's eyes: ``recover`` and ``quit`` on standard input, SIGINT and SIGTERM end it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: driver.stop())

    def read() -> None:
        words = {"recover": driver.recover, "quit": driver.stop}
        for line in sys.stdin:
            words.get(line.strip(), lambda: print(f"there are: {', '.join(words)}", flush=True))()

    threading.Thread(target=read, daemon=True).start()
    driver.run()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that the commands of all drivers have."""
    parser.add_argument("--state-address", default="tcp://127.0.0.1:5601", help="where state is published")
    parser.add_argument("--target-address", default="tcp://127.0.0.1:5602", help="where targets are taken")
    parser.add_argument("--rate", type=positive_number, default=CONTROL_FREQUENCY, help="the loop's rate in Hz (20)")
    parser.add_argument("--dry-run", action="store_true", help="publish the state, print targets, never move the arm")


def serve(connect: Callable[[], Arm], name: str, mend: str, arguments: argparse.Namespace) -> None:
    """The command of a driver: connects to its arm and drives it until a person ends it.

    Args:
        name: what the driver calls itself.
        mend: what to look at when the arm cannot be had.
        arguments: with those of ``add_options``.

    Raises:
        UserError: ``connect`` did not get the arm.
    """
    logs.configure()
    prefer_this_process(DEFAULT_PRIORITY)
    addresses = arguments.state_address, arguments.target_address
    try:
        driver = Driver(connect(), *addresses, 1 / arguments.rate, arguments.dry_run)
    except ArmFault as fault:
        raise UserError(f"{fault}; {mend}") from None
    print(f"{name}: state at {addresses[0]}, targets at {addresses[1]}", flush=True)
    operate(driver)
