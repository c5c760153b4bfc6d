"""How fast videos become multimodal tokens.

  python -m benchmarks.multimodal '[libero_object:traj0.5]' --images images.safetensors

Videos are those of python -m tokenizer.encode_multimodal; their tokens go into a folder that is removed again. Reading
and decoding the videos counts.
"""

import json
import tempfile
import time
from itertools import islice

import torch

from common import cli
from demos.roots import DataRoots
from tokenizer.multimodal.image_tokenizers import open_image_tokenizer
from tokenizer.multimodal.pipeline import Pipeline
from tokenizer.multimodal.sources import open_source
from tokenizer.multimodal.store import TokenStore


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("benchmarks.multimodal", __doc__)
    parser.add_argument("videos", metavar="VIDEOS", help="a folder, or demonstrations, e.g. [libero_object:traj0.5]")
    parser.add_argument("--images", required=True, metavar="TOKENIZER", help="image tokenizer")
    parser.add_argument("--count", type=cli.positive, default=20, metavar="N", help="videos at most (default 20)")
    DataRoots.add_options(parser, tracks=False)
    args = parser.parse_args(argv)

    torch.set_num_threads(1)
    source, images = open_source(args.videos, args.demos_root), open_image_tokenizer(args.images)
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline(source, images, TokenStore(folder))
        started = time.perf_counter()
        made = list(islice(pipeline.run(), args.count))
        seconds = time.perf_counter() - started
    counts = {
        "videos": sum(record.left_out is None for record in made),
        "frames": sum(record.frames for record in made),
        "pairs": sum(len(record.pairs) for record in made),
    }
    rates = {f"{name}_per_second": round(count / seconds, 2) for name, count in counts.items()}
    print(json.dumps({"source": args.videos, **counts, "seconds": round(seconds, 2), **rates}, indent=1))


if __name__ == "__main__":
    cli.run(main)
