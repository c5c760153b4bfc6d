"""What ros2_control is by its topics and services: the states of joints, and a controller that forwards positions."""

import difflib
import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from common.errors import UserError, require
from robot_bridge.drivers.clock import RemoteClock
from robot_bridge.drivers.driver import ArmFault
from robot_bridge.drivers.rosbridge import RosBridge

COMMANDS = "std_msgs/msg/Float64MultiArray"
JOINT_STATES = "sensor_msgs/msg/JointState"
TYPES = ("forward_command_controller/ForwardCommandController", "position_controllers/JointGroupPositionController")
"""Controllers that write positions from their topic to the joints."""


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not among ``known``."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, 1, 0.0)
    return f"{name} (nearest: {near[0]})" if near else name


@dataclass(frozen=True)
class JointState:
    """One joint: rad or m, the same a second (nan where nobody says it), and the monotonic time (s) of measurement."""

    position: float
    velocity: float
    at: float


class JointStates:
    """The newest of every joint that a JointState message has named; messages may name any of them, in any order.

    ``stamped``: the stamps of their headers say when they were measured; else it is when they come. Thread-safe.
    """

    def __init__(self, stamped: bool):
        self._stamped = stamped
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """They were out of sight; ROS' clock may have been set meanwhile."""
        with self._lock:
            self._clock, self._joints = RemoteClock(), dict[str, JointState]()

    def newest(self) -> Mapping[str, JointState]:
        """By their names."""
        with self._lock:
            return dict(self._joints)

    def take(self, message: dict[str, Any], arrived: float) -> None:
        """A message; positions that are no number (null in JSON) are left out, one without a stamp is new."""
        stamp = message["header"]["stamp"]
        there = stamp["sec"] + stamp["nanosec"] * 1e-9
        velocities = message.get("velocity") or []
        with self._lock:
            at = arrived - self._clock.delay(there, arrived) if self._stamped and there else arrived
            for place, (name, position) in enumerate(zip(message["name"], message["position"], strict=False)):
                velocity = velocities[place] if place < len(velocities) else None
                before = self._joints.get(name)
                if _is_number(position) and (before is None or at > before.at):
                    self._joints[name] = JointState(position, velocity if _is_number(velocity) else np.nan, at)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


class ForwardController:
    """A controller that writes what it is sent to its joints' position interfaces, and keeps the last of it.

    ``name`` may have a namespace, ``/left/forward_position_controller``, whose controller manager is then asked.
    """

    def __init__(self, name: str):
        namespace, _, self._name = name.strip("/").rpartition("/")
        self.topic = f"/{name.strip('/')}/commands"
        self._service = f"{'/' * bool(namespace)}{namespace}/controller_manager/list_controllers"
        self.joints: tuple[str, ...] = ()
        """In the order in which it takes them."""

    def learn(self, bridge: RosBridge) -> None:
        """Asks the controller manager for ``joints``.

        Raises:
            UserError: there is no such controller, or it is of another kind.
            ArmFault: it is not active, or the manager does not answer.
        """
        controllers = {state["name"]: state for state in bridge.call(self._service)["controller"]}
        state = controllers.get(self._name)
        if state is None:
            raise UserError(
                f"no controller {nearest(self._name, controllers)} at {self._service}; "
                f"load it: ros2 control load_controller {self._name}"
            )
        require(
            state["type"] in TYPES,
            f"the controller {self._name} is a {state['type']}, which takes no {self.topic}; load one of "
            f"{', '.join(TYPES)}",
        )
        interfaces = [interface.rpartition("/") for interface in state["required_command_interfaces"]]
        if state["state"] != "active":
            raise ArmFault(
                f"the controller {self._name} is {state['state']}; "
                f"activate it: ros2 control switch_controllers --activate {self._name}"
            )
        require(
            all(interface == "position" for _, _, interface in interfaces),
            f"the controller {self._name} commands {', '.join(state['required_command_interfaces'])}; this driver "
            "sends positions: interface_name: position",
        )
        self.joints = tuple(joint for joint, _, _ in interfaces)

    def send(self, bridge: RosBridge, positions: Mapping[str, float]) -> None:
        """Where each of ``joints`` should be."""
        bridge.publish(self.topic, {"data": [positions[joint] for joint in self.joints]})
