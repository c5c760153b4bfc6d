"""Where LIBERO's assets come from."""

import time

from common import cli
from sim.libero.assets import build, download, status


def main(argv: list[str]) -> None:
    """Parse the command line and do what it says."""
    parser = cli.CommandParser("sim.assets", __doc__)
    parser.add_argument(
        "command",
        choices=("status", "download", "build"),
        help="status: what commands would use now; download: fetch the published assets from the hub; "
        "build: make the procedural pack, which needs no network",
    )
    command = parser.parse_args(argv).command
    if command == "status":
        print(status())
        return
    started = time.perf_counter()
    made = download() if command == "download" else build()
    size = sum(file.stat().st_size for file in made.path.rglob("*") if file.is_file())
    print(f"{made}\n{size / 1e6:.1f} MB, digest {made.digest}, {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    cli.run(main)
