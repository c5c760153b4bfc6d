"""The driver of any arm that ros2_control moves, by its topics: joint states, and forward controllers of positions.

It speaks to ROS 2 through a rosbridge, so ROS need not be installed where it runs. On the robot:
  ros2 launch rosbridge_server rosbridge_websocket_launch.xml
  ros2 control switch_controllers --activate forward_position_controller
and beside the control loop:
  python -m robot_bridge.drivers.ros2 ws://192.168.1.20:9090 --robot robot.yaml --dry-run
  python -m robot_bridge.drivers.ros2 ws://192.168.1.20:9090 --robot robot.yaml --gripper finger_joint
Then, elsewhere: python -m robot_bridge.run --robot robot.yaml

While it runs, type: recover (the cause of a fault is gone) | quit
"""

import time

import numpy as np

from common.cli import CommandParser, positive_number, run
from common.errors import UserError, require
from robot_bridge.config import RobotConfig, read_robot
from robot_bridge.drivers.driver import ArmFault, Measured, add_options, serve
from robot_bridge.drivers.ros2_control import COMMANDS, JOINT_STATES, ForwardController, JointStates, nearest
from robot_bridge.drivers.rosbridge import RosBridge, Subscription
from robot_bridge.drivers.speedometer import Speedometer

SILENCE = 0.1
"""Seconds after which the last joint states are too old to drive by."""
ANNOUNCED = 1.0
"""Seconds within which every joint has been named, by whoever publishes it."""
THROTTLE = 4
"""Milliseconds between two joint states at least: the bridge need not tell all that a 500 Hz arm measures."""


class Ros2Arm:
    """An arm behind a rosbridge; ``robot_bridge.drivers.driver.Arm``.

    ``joints`` are ROS' names in the robot's order, ``velocity`` (n,) rad/s and ``braking`` rad/s^2 their limits.
    ``gripper`` is a joint of ``controller`` or of ``gripper_controller``, in ROS' own number; None: there
    is none. At most ``rate`` commands a second.

    Raises:
        UserError: joints or controllers are not those that ROS has.
        ArmFault: ROS cannot be reached, or a controller is not active.
    """

    def __init__(
        self,
        url: str,
        joints: tuple[str, ...],
        velocity: np.ndarray,
        braking: float,
        *,
        controller: str,
        gripper: str | None = None,
        gripper_controller: str | None = None,
        topic: str = "/joint_states",
        stamped: bool = True,
        rate: float = 100.0,
    ):
        self.velocity, self.braking = velocity, braking
        self._joints, self._gripper, self._topic = joints, gripper, topic
        self._controllers = [ForwardController(name) for name in (controller, gripper_controller) if name is not None]
        self._period, self._sent = 1 / rate, 0.0
        self._states, self._speedometer = JointStates(stamped), Speedometer()
        self._newest: Measured | None = None
        self._goal: dict[str, float] = {}
        subscription = Subscription(topic, JOINT_STATES, self._states.take, THROTTLE)
        topics = {each.topic: COMMANDS for each in self._controllers}
        self._bridge = RosBridge(url, subscription, topics)
        try:
            self._begin()
        except (ArmFault, UserError):
            self._bridge.close()
            raise

    def measure(self) -> Measured:
        """From the newest joint states."""
        if self._bridge.refusal:
            raise ArmFault(f"rosbridge refuses: {self._bridge.refusal}")
        states = self._states.newest()
        oldest = min(states[name].at for name in self._joints)
        if (silent := time.monotonic() - oldest) > SILENCE:
            self._bridge.drop()
            raise ArmFault(f"the arm: no new {self._topic} for {SILENCE:g} s (the last is {silent:.2f} s old)")
        if self._newest is None or self._newest.at is None or oldest > self._newest.at:
            q = np.array([states[name].position for name in self._joints])
            dq = np.array([states[name].velocity for name in self._joints])
            differences = self._speedometer.velocity(q, oldest)
            fingers = [states[self._gripper].position] if self._gripper is not None else []
            self._newest = Measured(q, np.where(np.isnan(dq), differences, dq), np.array(fingers), oldest)
        return self._newest

    def steer(self, q: np.ndarray, dq: np.ndarray) -> None:
        """The next position; those that come sooner than ``rate`` allows are left out."""
        self._goal.update(zip(self._joints, q.tolist(), strict=True))
        if time.monotonic() - self._sent >= self._period:
            self._send()

    def rest(self) -> None:
        """The controller holds where the arm was last measured."""
        self._goal.update(zip(self._joints, self.measure().q.tolist(), strict=True))
        self._send()

    def fingers(self, opening: float) -> None:
        """The gripper's joint; it goes out with the arm's."""
        if self._gripper is not None:
            self._goal[self._gripper] = opening

    def recover(self) -> None:
        """Goes by what ROS says now; the connection has been made again meanwhile, or is not there yet."""
        self._bridge.wait()
        self._bridge.forgive()
        self._states.forget()
        self._speedometer.forget()
        self._newest = None
        try:
            self._begin()
        except UserError as error:  # another robot came up; a person can mend that while this goes on
            raise ArmFault(str(error)) from None

    def close(self) -> None:
        """The controllers hold what they were sent last."""
        self._bridge.close()

    def _send(self) -> None:
        self._sent = time.monotonic()
        for controller in self._controllers:
            controller.send(self._bridge, self._goal)

    def _begin(self) -> None:
        """Looks at ROS' names, and takes where the arm is for its goal."""
        wanted = [*self._joints, *([self._gripper] if self._gripper is not None else [])]
        ends = time.monotonic() + ANNOUNCED
        while not set(wanted) <= (states := self._states.newest()).keys() and time.monotonic() < ends:
            time.sleep(0.01)
        if not states:
            raise ArmFault(f"the arm: nobody publishes {self._topic}")
        missing = [nearest(name, states) for name in wanted if name not in states]
        require(not missing, f"{self._topic} has no {', '.join(missing)}; name the joints as ROS does, with --joints")
        for controller in self._controllers:
            controller.learn(self._bridge)
        commanded = [joint for controller in self._controllers for joint in controller.joints]
        missing = [nearest(name, commanded) for name in wanted if name not in commanded]
        require(not missing, f"the controllers do not command {', '.join(missing)}; see their parameter joints")
        beyond = sorted(set(commanded) - set(wanted))
        require(not beyond, f"the controllers also command {', '.join(beyond)}, which robot.yaml does not have")
        states = self._states.newest()
        self._goal = {name: states[name].position for name in wanted}


def joints_of(config: RobotConfig, named: list[str] | None) -> tuple[str, ...]:
    """ROS' names in the robot's order: ``named``, or those of ``robot.yaml`` by its joint map.

    Raises:
        UserError: they are not as many as the robot's joints, or the map has another unit than ROS.
    """
    joint_map = config.joint_map
    require(joint_map.per_radian == 1.0, "ROS speaks radians; joint_map in robot.yaml must have unit: rad")
    if named is None:
        named = [""] * joint_map.real_dof
        for joint, place in zip(config.joints, joint_map.index.tolist(), strict=True):
            if place >= 0:
                named[place] = joint
        require("" not in named, "the robot has joints that robot.yaml does not name; write all of them after --joints")
    require(
        len(named) == joint_map.real_dof == len(set(named)),
        f"--joints: write {joint_map.real_dof} names, in the order of the joint map's robot",
    )
    return tuple(named)


def limits_of(config: RobotConfig) -> tuple[np.ndarray, float]:
    """The velocity (n,) rad/s, robot's order, at which the loop stops the arm; the least acceleration, rad/s^2.

    Joints that ``robot.yaml`` does not have are as slow as its slowest.
    """
    joint_map, safety = config.joint_map, config.safety
    velocity = np.full(joint_map.real_dof, safety.velocity.min())
    velocity[joint_map.index[joint_map.present]] = safety.velocity[joint_map.present]
    return velocity * safety.overspeed, float(safety.acceleration.min())


def main(argv: list[str]) -> None:
    """The command."""
    parser = CommandParser("robot_bridge.drivers.ros2", __doc__)
    parser.add_argument("url", help="address of the rosbridge, such as ws://192.168.1.20:9090")
    parser.add_argument("--robot", required=True, help="robot.yaml, whose joints and limits are taken")
    parser.add_argument(
        "--controller", default="forward_position_controller", help="that of the arm (forward_position_controller)"
    )
    parser.add_argument("--joints", nargs="+", metavar="NAME", help="ROS' names, where robot.yaml has others")
    parser.add_argument("--gripper", metavar="JOINT", help="the gripper's joint; its number is that of robot.yaml")
    parser.add_argument("--gripper-controller", metavar="NAME", help="that of the gripper, if it is not the arm's")
    parser.add_argument("--joint-states", default="/joint_states", metavar="TOPIC", help="(/joint_states)")
    parser.add_argument(
        "--command-rate", type=positive_number, default=100.0, metavar="HZ", help="commands a second at most (100)"
    )
    parser.add_argument(
        "--no-stamps", action="store_true", help="go by the arrival of joint states, for simulators that run slowly"
    )
    add_options(parser)
    arguments = parser.parse_args(argv)
    config = read_robot(arguments.robot)
    joints = joints_of(config, arguments.joints)
    grippers = [gripper.fingers for gripper in config.grippers]
    require(
        grippers == [1] * (arguments.gripper is not None),
        "robot.yaml must have one gripper of one finger with --gripper JOINT (gripper: {fingers: 1, unit: rad, ...}), "
        "and gripper: none without",
    )
    require(
        arguments.gripper_controller is None or arguments.gripper is not None,
        "--gripper-controller: name the gripper's joint too, with --gripper",
    )
    velocity, braking = limits_of(config)

    def connect() -> Ros2Arm:
        arm = Ros2Arm(
            arguments.url, joints, velocity, braking, controller=arguments.controller, gripper=arguments.gripper,
            gripper_controller=arguments.gripper_controller, topic=arguments.joint_states,
            stamped=not arguments.no_stamps, rate=arguments.command_rate,
        )  # fmt: skip
        print(f"ros2: joints {', '.join(joints)}", flush=True)
        return arm

    serve(connect, "ros2", "is the robot on, and rosbridge_server running?", arguments)


if __name__ == "__main__":
    run(main)
