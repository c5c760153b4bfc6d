"""Write a LIBERO task as a scene for the digital twin, to try a policy on a task that it knows.

then: python -m robot_bridge.twin --scene scene.xml, and python -m robot_bridge.run with the instruction that this
command prints
"""

from pathlib import Path

from common import cli
from common.cli import not_negative
from common.files import check_writable
from sim.machine import gl_driver


def main(argv: list[str]) -> None:
    """Parse the command line, write the scene and say how to use it."""
    parser = cli.CommandParser("sim.scene", __doc__)
    parser.add_argument("--suite", default="libero_object", help="the suite (default libero_object)")
    parser.add_argument(
        "--task", type=not_negative, default=0, metavar="N", help="number of the task in its suite (default 0)"
    )
    parser.add_argument(
        "--init-state", type=not_negative, default=0, metavar="K", help="which shipped initial state (default 0)"
    )
    parser.add_argument(
        "--assets", type=Path, metavar="DIR", help="LIBERO's assets, or 'pack'; default: see docs/assets.md"
    )
    parser.add_argument("--out", type=Path, default=Path("scene.xml"), metavar="FILE", help="default: scene.xml")
    arguments = parser.parse_args(argv)
    check_writable(arguments.out.parent)
    gl_driver.probe()
    from sim.libero.scene_export import write  # MuJoCo cannot even be imported where the GL library is missing

    task = write(arguments.suite, arguments.task, arguments.init_state, arguments.out, arguments.assets)
    print(f"{arguments.out}: {task.language}")
    print(f"  python -m robot_bridge.twin --scene {arguments.out}")
    print(f"  python -m robot_bridge.run --robot twin --task '{task.language}'")


if __name__ == "__main__":
    cli.run(main)
