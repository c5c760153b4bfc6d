"""Play a motion on a robot, through joint map, limits and watchdog. Enter stops, q quits.

  python -m robot_bridge.play walk.npy --dry-run --robot g1.yaml
  python -m robot_bridge.twin & python -m robot_bridge.play codes.json --clip 0 --robot twin

A motion is an NPY, PKL or HDF5 file (docs/motion.md), or codes as 'python -m tokenizer.encode_joints' writes them,
which are decoded first. It is brought to the loop's rate; the arm goes slowly to its first pose, plays it, and
holds the last one. --dry-run needs no robot: it says where limits would cut.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from common.cli import CommandParser
from common.cli import run as run_command
from common.errors import UserError
from policy.chunks import OverlapBlend
from robot_bridge import logs
from robot_bridge.asker import Asker
from robot_bridge.config import RobotConfig, read_robot
from robot_bridge.drivers.link import RobotLink
from robot_bridge.loop import ControlLoop
from robot_bridge.realtime import DEFAULT_PRIORITY, prefer_this_process
from robot_bridge.run import operate, stop_key

REPLAN_SECONDS = 0.2
"""Between two looks ahead into the motion."""


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = CommandParser("robot_bridge.play", __doc__)
    parser.add_argument("motion", type=Path, metavar="MOTION", help="motion file, or codes (.json)")
    parser.add_argument("--clip", metavar="N|NAME", help="which of the file's motions; needed if there are several")
    parser.add_argument("--robot", default="twin", help="robot.yaml, or 'twin' (docs/robot.md)")
    parser.add_argument("--rate", type=float, help="control rate in Hz, if not robot.yaml's")
    parser.add_argument("--speed", type=float, default=1.0, help="0.5 plays at half the speed (default 1)")
    parser.add_argument(
        "--approach", type=float, default=0.25, help="share of the velocity limits on the way to the first pose"
    )
    parser.add_argument(
        "--order",
        choices=("simulator", "robot"),
        help="whose joints the motion is of; by default as many as it has say, and codes know",
    )
    parser.add_argument("--tokenizer", type=Path, help="for codes: the checkpoint, if not the one that the file names")
    parser.add_argument("--dry-run", action="store_true", help="say where limits would cut; send nothing")
    parser.add_argument("--no-stop-key", action="store_true", help="run although no key can stop the arm")
    parser.add_argument("--record", metavar="DIR", help="write the session here, in the demonstration layout")
    parser.add_argument(
        "--priority",
        type=int,
        default=DEFAULT_PRIORITY,
        help=f"real-time priority, 1 to 99; 0: as any process (default {DEFAULT_PRIORITY}, where the system grants it)",
    )
    arguments = parser.parse_args(argv)
    if arguments.rate is not None and not 1 <= arguments.rate <= 1000:
        raise UserError("--rate must be 1 to 1000 Hz")
    if not 0 < arguments.speed <= 10:
        raise UserError("--speed must be above 0 and at most 10")
    if not 0 < arguments.approach <= 1:
        raise UserError("--approach must be above 0 and at most 1")
    return arguments


def main(argv: list[str]) -> None:
    """The command."""
    arguments = _arguments(argv)
    if not arguments.dry_run:
        stop_key(arguments.no_stop_key)
    logs.configure()
    config = dataclasses.replace(read_robot(arguments.robot), mode="joint_target")

    from robot_bridge.kinematics import limbs_of  # these bring MuJoCo and SciPy; not for --help
    from robot_bridge.playing import Played, chunks_of, cuts, simulator_joints, targets_of

    motion, on_robot = _read(arguments)
    motion = simulator_joints(motion, config.joint_map, on_robot)
    if motion.openings is not None and motion.openings.shape[1] != len(config.grippers):
        print(f"fingers stay: the motion has {motion.openings.shape[1]} grippers, the robot {len(config.grippers)}")
        motion = dataclasses.replace(motion, openings=None)
    limbs, rate = limbs_of(config), arguments.rate or config.rate
    print(f"motion  {motion.name}: {len(motion)} frames at {motion.frame_rate:g} Hz, {motion.seconds:.1f} s")
    settings = rate, arguments.speed
    velocity = config.safety.velocity
    at_first = targets_of(motion, *settings, motion.joints[0], velocity, arguments.approach)
    found = cuts(at_first, config, limbs)
    for cut in found:
        print(f"limits would cut {cut}")
    if arguments.dry_run:
        print(json.dumps({"seconds": round(motion.seconds, 3), "cuts": [dataclasses.asdict(cut) for cut in found]}))
        return

    prefer_this_process(arguments.priority)  # before the threads that serve the loop start, so that they inherit it
    link = RobotLink.to(config)
    link.wait((), timeout=10.0)
    link.wait_until_free()
    received = link.state()
    assert received is not None
    start = config.joint_map.to_sim(received.state.q, motion.joints[0])
    targets = targets_of(motion, *settings, start, velocity, arguments.approach)
    print(f"robot   {config.name} at {config.state_address}; {targets.approach / rate:.1f} s to the first pose")
    played = Played(targets, _session(arguments, config))
    asker = Asker(chunks_of(targets, config))
    replan = max(1, round(rate * min(REPLAN_SECONDS, config.safety.hold_after / 3)))
    loop = ControlLoop(
        config,
        link,
        limbs,
        asker,
        OverlapBlend(),
        views=(),
        image_size=(1, 1),
        rate=rate,
        replan=replan,
        recorder=played,
    )
    try:
        operate(loop, targets.seconds, optional_key=arguments.no_stop_key, live=True)
    finally:
        asker.close()
        link.close()
        recorded = None if played.behind is None else played.behind.save()  # type: ignore[attr-defined]
        print(json.dumps(loop.report.summary() | {"motion": played.summary(limbs)}))
        if recorded is not None:
            print(f"recorded {recorded}")


def _read(arguments: argparse.Namespace) -> tuple[Any, bool | None]:
    """The one motion that is meant, and whether its joints are the robot's (None: as many as it has say)."""
    from demos.motion import chosen
    from demos.motion_files import read_motions

    on_robot = None if arguments.order is None else arguments.order == "robot"
    if arguments.motion.suffix == ".json":
        from tokenizer.joints.code_files import decode_file  # brings torch

        motions, mapped = decode_file(arguments.motion, arguments.tokenizer)
        on_robot = mapped if on_robot is None else on_robot
    else:
        motions = read_motions(arguments.motion)
    found = chosen(motions, arguments.clip)
    if len(found) != 1:
        names = ", ".join(motion.name for motion in found[:10])
        raise UserError(
            f"{arguments.motion} has {len(found)} motions ({names} ...); choose one with --clip 0 or a name"
        )
    return found[0], on_robot


def _session(arguments: argparse.Namespace, config: RobotConfig) -> Any:
    if not arguments.record:
        return None
    from robot_bridge.recorder import SessionRecorder

    return SessionRecorder(arguments.record, config, f"play {arguments.motion.name}", ())


if __name__ == "__main__":
    run_command(main)
