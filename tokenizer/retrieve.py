"""Finds the moments whose motion is nearest to that of a given one, and draws them on a contact sheet.

  python -m tokenizer.retrieve CHECKPOINT '[libero_goal:traj0.5]' '[libero_goal:traj-0.1]' --demo 3 --second 4.2

The first datasets are searched, the moment is SECOND of demonstration DEMO (a number from 0) of the second ones.
Moments are compared by the vectors of their codes, so what counts is how points move, not what the scene looks like.
The sheet has a row for each moment: the image of each view with the true motion that follows. At most one moment of an
episode is shown.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from common import cli
from common.conventions import CONTROL_FREQUENCY
from common.errors import UserError
from common.files import replacing
from demos.dataset import FrameDataset
from demos.roots import DataRoots
from tokenizer.retrieval import BATCH, Moment, nearest, token_vectors
from tokenizer.tracks.model import MotionTokenizer
from tokenizer.tracks.overlay import contact_sheet
from tokenizer.tracks.published import read_tokenizer
from tokenizer.tracks.recipe import track_frames


def parser() -> cli.CommandParser:
    """The command line."""
    command = cli.CommandParser("tokenizer.retrieve", __doc__)
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a track tokenizer")
    command.add_argument("datasets", metavar="DATASETS", help="demonstrations to search, e.g. [libero_10:traj0.9]")
    command.add_argument("query", metavar="QUERY", help="demonstrations that the moment is of")
    command.add_argument("--demo", type=cli.not_negative, default=0, help="which of them, from 0 (default 0)")
    command.add_argument("--second", type=float, default=0.0, help="when in it (default 0)")
    command.add_argument("--count", type=cli.positive, default=8, help="moments to find (default 8)")
    command.add_argument("--stride", type=cli.positive, default=4, help="search every so many frames (default 4)")
    command.add_argument("--out", type=Path, default=Path("nearest"), metavar="NAME", help="writes NAME.png, NAME.json")
    DataRoots.add_options(command)
    cli.add_device(command)
    return command


def main(argv: list[str]) -> None:
    args = parser().parse_args(argv)
    digest = read_tokenizer(args.checkpoint).digest
    model = MotionTokenizer.load(args.checkpoint).to(args.device)
    roots = DataRoots.of_options(args)
    frames, asked = (track_frames(roots, spec, model.config, with_images=True) for spec in (args.datasets, args.query))
    query = _frame_at(asked, args.demo, args.second)
    numbers = np.arange(0, len(frames), args.stride)
    console = Console(stderr=True)
    starts = track(range(0, len(numbers), BATCH), "encoding", console=console, disable=not console.is_terminal)
    vectors = np.concatenate([token_vectors(model, frames, numbers[start : start + BATCH]) for start in starts])
    sought = token_vectors(model, asked, np.array([query]))[0]
    found = nearest(sought, vectors, numbers, frames.episode_of(numbers), args.count)

    shown = [(asked, Moment(query, 0.0)), *((frames, moment) for moment in found)]
    rows = [_described(dataset, moment) for dataset, moment in shown]
    batches = [dataset.frames_in_batch(np.array([moment.frame])) for dataset, moment in shown]
    images, tracks = (np.concatenate([batch[name] for batch in batches]) for name in ("images", "tracks"))
    captions = ["sought", *(f"{moment.distance:.2f}" for moment in found)]
    picture, listing = (args.out.with_name(args.out.name + suffix) for suffix in (".png", ".json"))
    with replacing(picture) as temporary:
        Image.fromarray(contact_sheet(images, tracks, captions)).save(temporary, format="png")
    with replacing(listing) as temporary:
        document = {"checkpoint": str(args.checkpoint), "digest": digest, "sought": rows[0], "found": rows[1:]}
        temporary.write_text(json.dumps(document, indent=1) + "\n")
    for row in rows:
        print(f"{row['distance']:7.3f}  {row['suite']} {row['file']} demo_{row['demo']} at {row['second']:.2f} s")
    print(f"wrote {picture} and {listing}")


def _frame_at(frames: FrameDataset, demo: int, second: float) -> int:
    """The number of a frame.

    Raises:
        UserError: there is no such demonstration, or it is shorter.
    """
    if demo >= len(frames.episodes):
        raise UserError(f"--demo {demo}: there are {len(frames.episodes)} demonstrations, numbered from 0")
    episode, step = frames.episodes[demo], round(second * CONTROL_FREQUENCY)
    if not 0 <= step < episode.steps:
        raise UserError(f"--second {second}: the demonstration has {episode.steps / CONTROL_FREQUENCY:.2f} s")
    return episode.first_frame + step


def _described(frames: FrameDataset, moment: Moment) -> dict[str, Any]:
    episode = frames.episodes[int(frames.episode_of(np.array([moment.frame]))[0])]
    return {
        "suite": episode.file.parent.name,
        "file": episode.file.name,
        "demo": episode.index,
        "second": (moment.frame - episode.first_frame) / CONTROL_FREQUENCY,
        "distance": moment.distance,
    }


if __name__ == "__main__":
    cli.run(main)
