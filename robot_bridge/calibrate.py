"""Measure a robot.yaml: joint map, workspace and gripper, by guiding the arm by hand, step by step.

  python -m robot_bridge.calibrate franka.yaml --out my_franka.yaml
  python -m robot_bridge.calibrate so101 --out my_so101.yaml --pose 0 0 0 0 0
  python -m robot_bridge.twin & python -m robot_bridge.calibrate twin --out my_twin.yaml

The robot's driver runs, its arm is limp or in hand-guiding mode, and no loop drives it: this command listens to its
states and sends it nothing. ROBOT.yaml has the addresses, the model and the limits; what it says of joint map,
workspace and gripper is replaced by what is measured. Keys are single presses. Each step says what to do; Enter takes
it, k leaves what ROBOT.yaml says, b goes back, q or Ctrl-C leaves. What was measured by then is kept beside OUT, and
the same command goes on from there. At the end it shows what changes, draws arm and box, and writes OUT.

The twin is guided by typing into its terminal: guide joint1 0.4, guide home, guide hand 0.5 0.2 0.3 (docs/robot.md).
"""

import argparse
import sys
from pathlib import Path

from common.cli import CommandParser, run
from common.errors import require
from common.files import check_writable
from robot_bridge.config import TEMPLATES
from robot_bridge.console import why_no_key
from robot_bridge.drivers.listener import StateListener
from robot_bridge.key_presses import KeyPresses

MARGIN = 0.01


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = CommandParser("robot_bridge.calibrate", __doc__)
    parser.add_argument("robot", metavar="ROBOT.yaml", help=f"what is known already; or {', '.join(TEMPLATES)}")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="the robot.yaml to write")
    parser.add_argument(
        "--pose", type=float, nargs="+", metavar="Q", help="the known pose, rad, simulator order (default: home)"
    )
    parser.add_argument(
        "--margin", type=float, default=MARGIN, help=f"m between what was visited and the box (default {MARGIN})"
    )
    parser.add_argument("--overwrite", action="store_true", help="OUT may be there already")
    arguments = parser.parse_args(argv)
    require(0 <= arguments.margin <= 0.2, "--margin must be 0 to 0.2 m")
    require(arguments.out.suffix in (".yaml", ".yml"), f"--out must be a .yaml file, not {arguments.out}")
    require(
        arguments.overwrite or not arguments.out.exists(), f"{arguments.out} is there already; --overwrite replaces it"
    )
    check_writable(arguments.out.parent)
    return arguments


def main(argv: list[str]) -> int:
    """The command; its exit status is 1 when the person left before the end."""
    arguments = _arguments(argv)
    trouble = why_no_key(sys.stdin)
    require(not trouble, f"nobody could press a key: {trouble}")

    from robot_bridge.calibration.plan import Plan  # these bring MuJoCo; not for --help
    from robot_bridge.calibration.walk import Walk

    plan = Plan.of(arguments.robot, arguments.out, arguments.pose, arguments.margin)
    config, measured = plan.config, None
    listener = StateListener(config.state_address)
    try:
        assert listener.newest is not None
        real_dof = len(listener.newest.q)
        begun = plan.begun(real_dof, len(listener.newest.fingers))
        print(f"{config.name}: {len(config.joints)} joints in the model, {real_dof} in the robot's states")
        if begun.done:
            print(f"going on after {len(begun.done)} steps in {plan.kept}; remove it to measure anew")
        steps = plan.steps()
        print(plan.draw_joints(), flush=True)
        with KeyPresses(sys.stdin.fileno()) as keys:
            walk = Walk(listener, keys, steps, config.joint_map.per_radian, lambda so_far: so_far.write(plan.kept))
            measured = walk.run(begun)
        if measured is not None:
            plan.write(measured)
    finally:
        listener.close()
        if plan.kept.exists():
            print(f"\n{plan.out} was not written; what was measured is kept in {plan.kept}: the same command goes on")
        elif measured is None:
            print(f"\n{plan.out} was not written; nothing was measured")
    if measured is None:
        return 1
    print(f"wrote {plan.out}; now: python -m robot_bridge.check {plan.out} --at-home")
    return 0


if __name__ == "__main__":
    run(main)
