"""Generates modalities from others with a masked model, and draws them: the next frame, its joints, a caption.

  python -m tokenizer.generate_multimodal CHECKPOINT tokens/ --images images.safetensors --pair 000012
  python -m tokenizer.generate_multimodal CHECKPOINT tokens/ --images images.safetensors --pair 000012 --frames 6
  python -m tokenizer.generate_multimodal CHECKPOINT tokens/ --images images.safetensors --pair 000012 \\
    --given coords,captions --wanted tok_rgb:8 --temperature 0.7 --top-p 0.9 --seed 3

What is --given comes from a pair of tokens/, a folder of python -m tokenizer.encode_multimodal. --wanted is generated
in this order, each seeing those before it; a number behind the colon is in how many steps (1: all tokens at once). With
--frames each frame is the present one of the next. Files land beside --out: NAME.png, the present, the true and the
generated frames with their joints; NAME.json, tokens and captions; of several frames NAME.mp4, too.
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from common import cli
from common.errors import UserError
from common.files import replacing
from common.video import write_video
from tokenizer.multimodal.captions import caption_text, caption_tokens
from tokenizer.multimodal.dataset import tokens_of_pair
from tokenizer.multimodal.generation import targets_of
from tokenizer.multimodal.meaning import Meaning
from tokenizer.multimodal.model import MaskedModel
from tokenizer.multimodal.rollout import roll_out
from tokenizer.multimodal.store import CAPTIONS, TokenStore
from tokenizer.sampling import Sampling

FILM_RATE = 4.0
"""Frames a second."""


def parser() -> cli.CommandParser:
    """The command line."""
    command = cli.CommandParser("tokenizer.generate_multimodal", __doc__)
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a masked model")
    command.add_argument("tokens", type=Path, metavar="TOKENS", help="folder that what is given is from")
    command.add_argument("--images", required=True, metavar="TOKENIZER", help="image tokenizer that made the tokens")
    command.add_argument("--pair", required=True, metavar="ID", help="six digits")
    command.add_argument("--given", metavar="NAMES", help="default all of the present frame, and the caption")
    command.add_argument("--caption", metavar="TEXT", help="instead of the pair's")
    command.add_argument(
        "--wanted", default="coords_next:10,tok_rgb_next:8", metavar="NAMES", help="name or name:steps"
    )
    command.add_argument("--frames", type=cli.positive, default=1, help="in a row (default 1)")
    command.add_argument("--temperature", type=float, default=0.0, help="0, the likeliest (default), to 1 and above")
    command.add_argument("--top-k", type=float, default=0.0, help="only so many, or this share of ids (default 0: all)")
    command.add_argument(
        "--top-p", type=float, default=0.0, help="only ids that together are so likely (default 0: all)"
    )
    command.add_argument("--seed", type=cli.not_negative, default=0, help="default 0")
    command.add_argument("--out", type=Path, default=Path("generated"), metavar="NAME", help="default generated")
    cli.add_device(command)
    return command


def main(argv: list[str]) -> None:
    args = parser().parse_args(argv)
    model = MaskedModel.load(args.checkpoint).to(args.device)
    meaning = Meaning.read(args.checkpoint, args.images, args.device)
    c, store = model.config, TokenStore.read(args.tokens)
    truth = tokens_of_pair(store, args.pair, c)
    targets = targets_of(args.wanted, Sampling(args.temperature, args.top_k, args.top_p))
    wanted = {target.modality for target in targets}
    names = args.given.split(",") if args.given else [n for n in truth if not n.endswith("_next") and n not in wanted]
    if absent := [name for name in names if name not in truth]:
        raise UserError(f"pair {args.pair} of {args.tokens} has no {absent[0]} for this model, only {', '.join(truth)}")
    given = {name: truth[name] for name in names}
    if args.caption is not None:
        given[CAPTIONS] = caption_tokens(args.caption, c.max_seq_lens[c.index(CAPTIONS)], "--caption")
    as_tensors = {name: torch.from_numpy(tokens)[None] for name, tokens in given.items()}
    found = [
        {name: ids[0].cpu().numpy() for name, ids in frame.items()}
        for frame in roll_out(model, as_tensors, targets, args.frames, args.seed)
    ]

    rows = [_frames_of(truth, meaning), _row(found, meaning)]
    picture, listing, film = (args.out.with_name(args.out.name + suffix) for suffix in (".png", ".json", ".mp4"))
    with replacing(picture) as temporary:
        Image.fromarray(strip(rows)).save(temporary, format="png")
    document = [
        {name: caption_text(ids) if name == CAPTIONS else ids.tolist() for name, ids in frame.items()}
        for frame in found
    ]
    with replacing(listing) as temporary:
        temporary.write_text(json.dumps({"pair": args.pair, "seed": args.seed, "frames": document}, indent=1) + "\n")
    written = [picture, listing]
    if args.frames > 1:
        write_video(film, rows[1], FILM_RATE)
        written.append(film)
    print(f"above the true present and next frame, below what was generated: {', '.join(map(str, written))}")
    if CAPTIONS in found[0]:
        print(f"caption: {caption_text(found[0][CAPTIONS])!r}")  # quoted: bytes that were generated may be anything


def _frames_of(tokens: dict[str, np.ndarray], meaning: Meaning) -> list[np.ndarray]:
    """The present and the next frame with their joints, of those that there are; grey without an image."""
    frames = []
    for suffix in ("", "_next"):
        image, joints = tokens.get(f"tok_rgb{suffix}"), tokens.get(f"coords{suffix}")
        if image is None and joints is None:
            continue
        frame = np.full((256, 256, 3), 40, np.uint8) if image is None else meaning.image(image[None])[0]
        frames.append(frame if joints is None else meaning.drawn(frame, joints))
    return frames


def _row(found: list[dict[str, np.ndarray]], meaning: Meaning) -> list[np.ndarray]:
    """The first present frame, and all that follow."""
    first, *others = (_frames_of(tokens, meaning) for tokens in found)
    return first + [frames[-1] for frames in others if frames]


def strip(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Frames (h, w, 3) in rows, beginning at the left."""
    height, width = next(frame.shape[:2] for row in rows for frame in row)
    picture = np.zeros((height * len(rows), width * max(map(len, rows)), 3), np.uint8)
    for y, row in enumerate(rows):
        for x, frame in enumerate(row):
            picture[y * height : (y + 1) * height, x * width : (x + 1) * width] = frame
    return picture


if __name__ == "__main__":
    cli.run(main)
