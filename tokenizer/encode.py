"""Writes the motion codes of whole datasets: one HDF5 file a task.

  python -m tokenizer.encode runs/motion_tokenizer/mine/best.safetensors '[libero_10:traj1, libero_goal:traj0.5]'

data/codes/SUITE/TASK_codes.hdf5 has data/demo_k/codes (steps, s) uint16: the codes of the motion that follows each
frame. What is written already is left alone, so a run that was interrupted goes on where it stopped.
"""

from pathlib import Path

from rich.console import Console
from rich.progress import track

from common import cli
from demos.roots import DataRoots
from tokenizer.tracks.encoding import codes_file, is_written, tasks_of, write_codes
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.published import read_tokenizer
from tokenizer.tracks.recipe import track_frames


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("tokenizer.encode", __doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a track tokenizer")
    parser.add_argument("datasets", metavar="DATASETS", help="demonstrations, e.g. [libero_10:traj1]")
    parser.add_argument("--out", type=Path, default=Path("data/codes"), metavar="DIR", help="default data/codes")
    DataRoots.add_options(parser)
    cli.add_device(parser)
    args = parser.parse_args(argv)

    digest = read_tokenizer(args.checkpoint).digest
    model = MotionTokenizer.load(args.checkpoint).to(args.device)
    frames = track_frames(DataRoots.of_options(args), args.datasets, model.config)
    tasks = [(codes_file(args.out, episodes[0].file), episodes) for episodes in tasks_of(frames)]
    missing = [(path, episodes) for path, episodes in tasks if not is_written(path, digest, episodes)]

    console = Console(stderr=True)
    count = 0
    for path, episodes in track(missing, "tasks", console=console, disable=not console.is_terminal):
        count += write_codes(path, model, digest, frames, episodes)
    there = f", {len(tasks) - len(missing)} files were there" if len(missing) < len(tasks) else ""
    print(f"wrote the codes of {count} frames to {len(missing)} files below {args.out}{there}")


if __name__ == "__main__":
    cli.run(main)
