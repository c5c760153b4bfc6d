"""Record episodes with a robot, moved by a person or by a policy: home, count-down, episode, label, next.

  python -m robot_bridge.twin & python -m robot_bridge.episodes --robot twin --record data/mine --task 'pick up the can'
  python -m robot_bridge.episodes --robot robot.yaml --record data/mine --task '...' --by gamepad
  python -m robot_bridge.episodes --robot so101 --record data/mine --task '...' --by leader --set port=/dev/ttyACM1
  python -m robot_bridge.episodes --robot robot.yaml --record data/mine --task '...' --by policy --server tcp://gpu:5555

Keys are single presses. Enter begins an episode and ends it, and the arm brakes; then s, f or d say whether it was a
success, a failure, or is to be discarded, and a line may be noted. Successes become demonstrations in
DIR/TASK_demo.hdf5, which the trainers read; failures go to DIR/failures, and what nobody judged, as after Ctrl-C, to
DIR/unlabelled. The cameras' own images are videos beside them. A person's motions go through the same safety filter as
a policy's.
"""

import argparse
import functools
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from common.cli import CommandParser, positive
from common.cli import run as run_command
from common.conventions import VIEWS
from common.embodiment import LIBERO
from common.errors import UserError
from policy.chunks import JOINERS, OverlapBlend
from robot_bridge import logs
from robot_bridge.config import TEMPLATES, RobotConfig, read_robot
from robot_bridge.drivers.lerobot import TELEOPERATORS, maker
from robot_bridge.drivers.link import RobotLink
from robot_bridge.key_presses import KeyPresses
from robot_bridge.leader import LeaderTeleoperation
from robot_bridge.realtime import DEFAULT_PRIORITY, prefer_this_process
from robot_bridge.run import check_cameras, check_policy, check_replan, connect, introduce, questions, stop_key
from robot_bridge.sitting import Driver, Sitting
from robot_bridge.teleoperation import GamepadTeleoperation, KeyboardTeleoperation, Teleoperation, as_chunks


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = CommandParser("robot_bridge.episodes", __doc__)
    parser.add_argument("--robot", default="twin", help=f"robot.yaml, or {', '.join(TEMPLATES)} (docs/robot.md)")
    parser.add_argument("--record", type=Path, required=True, metavar="DIR", help="where episodes go")
    parser.add_argument("--task", required=True, help="the instruction that the episodes follow")
    parser.add_argument("--episodes", type=positive, default=10, metavar="N", help="how many to keep (default 10)")
    parser.add_argument("--by", choices=tuple(DRIVERS), default="keyboard", help="who moves the arm")
    parser.add_argument("--seconds", type=float, default=60.0, help="an episode ends after so long (default 60)")
    parser.add_argument("--count-down", type=int, default=3, metavar="S", help="seconds before each (default 3)")
    parser.add_argument("--rate", type=float, help="control rate in Hz, if not robot.yaml's (20, as in training)")
    parser.add_argument(
        "--priority",
        type=int,
        default=DEFAULT_PRIORITY,
        help=f"real-time priority, 1 to 99; 0: as any process (default {DEFAULT_PRIORITY}, where the system grants it)",
    )
    person = parser.add_argument_group("moved by a person")
    person.add_argument("--speed", type=float, default=0.4, help="share of the largest action (default 0.4)")
    person.add_argument("--device", default="/dev/input/js0", help="the gamepad (default /dev/input/js0)")
    person.add_argument("--image-size", type=positive, default=128, help="side of the images in the HDF5 (default 128)")
    person.add_argument("--leader", default="so101_leader", metavar="KIND", help="what LeRobot calls it (so101_leader)")
    person.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="of the leader's configuration: port, id, ..."
    )
    policy = parser.add_argument_group("moved by a policy")
    policy.add_argument("--server", default="tcp://127.0.0.1:5555", help="tcp://, groot:// or openpi://HOST:PORT")
    policy.add_argument("--replan", type=positive, default=4, help="ticks between requests (default 4)")
    policy.add_argument(
        "--join", choices=("blend", "ensemble", "realtime"), default="blend", help="as robot_bridge.run"
    )
    policy.add_argument("--wait", type=float, default=120.0, help="seconds to wait for a server that is starting")
    policy.add_argument("--timeout", type=float, default=1.0, help="seconds to wait for one answer of the server")
    policy.add_argument("--keys", help="this client's .key_secret file, for an encrypted server")
    policy.add_argument("--server-key", help="the server's server.key file")
    policy.add_argument("--jpeg", type=int, metavar="QUALITY", help="send images as JPEG, 1 to 100, on slow networks")
    arguments = parser.parse_args(argv)
    if arguments.rate is not None and not 1 <= arguments.rate <= 1000:
        raise UserError("--rate must be 1 to 1000 Hz")
    if not 0 <= arguments.priority <= 99:
        raise UserError("--priority must be 0 to 99")
    if not 0 < arguments.speed <= 1:
        raise UserError("--speed must be above 0 and at most 1")
    if not arguments.seconds > 0:
        raise UserError("--seconds must be above 0")
    if not 0 <= arguments.count_down <= 60:
        raise UserError("--count-down must be 0 to 60")
    return arguments


def _person(arguments: argparse.Namespace, config: RobotConfig, keys: KeyPresses) -> Driver:
    """Somebody with a keyboard or a gamepad."""
    if config.embodiment.action != LIBERO.action:
        raise UserError(
            f"a person moves one hand with a gripper, by mode: osc_delta and gripper: {{action: sign}}; the actions of "
            f"{arguments.robot} are {', '.join(map(str, config.embodiment.action))}"
        )
    person: Teleoperation
    if arguments.by == "gamepad":
        person = GamepadTeleoperation(arguments.device, arguments.speed, end=lambda: keys.put("enter"))
    else:
        person = KeyboardTeleoperation(arguments.speed)
    return Driver(
        asks=(as_chunks(person),),
        joiner=lambda: OverlapBlend(0),
        replan=1,
        views=VIEWS,
        image_size=(arguments.image_size, arguments.image_size),
        keys=person.keys,
        press=person.press,
        begin=person.begin,
    )


def _leader(arguments: argparse.Namespace, config: RobotConfig, keys: KeyPresses) -> Driver:
    """Somebody with a leader arm."""
    make = maker(arguments.leader, arguments.set, TELEOPERATORS)
    leader = LeaderTeleoperation(make, config, tell=lambda text: print(text, flush=True))
    return Driver(
        asks=(leader.ask,),
        joiner=lambda: OverlapBlend(0),
        replan=1,
        views=VIEWS,
        image_size=(arguments.image_size, arguments.image_size),
        keys=leader.keys,
        begin=leader.begin,
    )


def _policy(arguments: argparse.Namespace, config: RobotConfig, keys: KeyPresses) -> Driver:
    """What is behind a policy server."""
    clients, about, seconds = connect(arguments)
    rate = arguments.rate or config.rate
    policy = check_policy(config, about, rate, forced=arguments.rate is not None)
    check_replan(config, arguments.replan, rate, int(about["action_horizon"]), seconds)
    introduce(config, about, arguments.server, seconds, arguments.task)
    return Driver(
        asks=questions(config, policy, clients, about, arguments.task),
        joiner=JOINERS[arguments.join],
        replan=arguments.replan,
        views=tuple(about["views"]),
        image_size=tuple(about["image_size"]),  # type: ignore[arg-type]
    )


DRIVERS = {"keyboard": _person, "gamepad": _person, "leader": _leader, "policy": _policy}
"""Who may move the arm, and what makes them ready for it."""


def main(argv: list[str]) -> None:
    """The command."""
    arguments = _arguments(argv)
    stop_key(optional=False)
    logs.configure()
    config = read_robot(arguments.robot)

    from robot_bridge.kinematics import limbs_of  # these bring MuJoCo; not for --help
    from robot_bridge.osc import references_of
    from robot_bridge.recorder import recover

    for path in recover(arguments.record):
        print(f"recovered a session that was cut off: {path}")
    rate = arguments.rate or config.rate
    prefer_this_process(arguments.priority)  # before the threads that serve the loop start, so that they inherit it
    with KeyPresses(sys.stdin.fileno()) as keys:
        driver = DRIVERS[arguments.by](arguments, config, keys)
        link = RobotLink.to(config)
        try:
            link.wait(tuple(config.cameras.get(view, view) for view in driver.views), timeout=10.0)
            check_cameras(config, link)
            link.wait_until_free()
            sitting = Sitting(
                config,
                link,
                limbs_of(config),
                functools.partial(references_of, config, rate),
                driver,
                keys,
                task=arguments.task,
                folder=arguments.record,
                rate=rate,
                seconds=arguments.seconds,
                count_down=arguments.count_down,
            )

            def interrupt(number: int, frame: FrameType | None) -> None:
                sitting.interrupt()

            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, interrupt)
            sitting.run(arguments.episodes)
        finally:
            link.close()
    print(json.dumps({"episodes": dict(sitting.outcomes), "folder": os.fspath(arguments.record)}))


if __name__ == "__main__":
    run_command(main)
