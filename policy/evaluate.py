"""Measures a bundle's codes on demonstrations with tracks: what the tokenizer keeps, what forward dynamics predicts.

  python -m policy.evaluate --datasets '[libero_10:traj-0.1]'

The first table is of true motion, encoded and decoded again: the best that any prediction can reach. The second is of
the motion that forward dynamics predicts from images and instruction alone, code by code, greedily; where the policy
acts on the mean of all codes, another is of that. --num-samples draws so many predictions of each moment and adds the
best of them, and their mean. Every measure of tracks stands beside that of points that do not move, which most points
do not. Actions are measured by python -m sim.eval.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from common import cli
from common.errors import UserError
from common.files import replacing
from demos.dataset import FrameDataset
from demos.roots import DataRoots
from policy import DEFAULT_BUNDLE, load_policy
from policy.amplify import Amplify
from policy.forward_dynamics import AR_SAMPLING, ar_sampling
from policy.forward_measures import forward_measures, sample_measures, soft_measures
from tokenizer.sampling import Sampling
from tokenizer.tracks.metrics import metrics_beside_still, metrics_text, motion_explained
from tokenizer.tracks.motion import points_to_velocities

BATCH = 16
TITLES = {
    "decoded": "true motion, encoded and decoded again",
    "predicted": "predicted motion",
    "soft": "predicted motion, of mean codes at once",
    "best_sample": "predicted motion, the best of {n} drawn",
    "mean_sample": "predicted motion, the mean over {n} drawn",
}
"""Of the tables, by the names of their measures."""


@dataclass(frozen=True)
class Draws:
    """How many predictions of each moment are drawn, and how."""

    samples: int
    sampling: Sampling
    seed: int = 0


def code_measures(
    policy: Amplify, frames: FrameDataset, count: int, draws: Draws | None = None
) -> dict[str, dict[str, float]]:
    """Measures of ``decoded`` and of ``predicted`` motion, at ``count`` frames spread evenly over ``frames``; of
    ``soft`` where the policy acts on that, and with ``draws`` of their ``best_sample`` and ``mean_sample``.

    ``frames`` has images, tracks and text, in the policy's views.
    """
    tokenizer, model = policy.motion_tokenizer, policy.forward_dynamics
    c = tokenizer.config
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int))
    generator = torch.Generator(policy.device).manual_seed(draws.seed if draws else 0)
    parts: dict[str, list[tuple[int, dict[str, float]]]] = {}
    with torch.inference_mode():
        for indices in np.split(chosen, range(BATCH, len(chosen), BATCH)):
            batch = frames.frames_in_batch(indices)
            points = torch.from_numpy(batch["tracks"]).to(policy.device)
            if points.shape[3] != c.num_tracks:
                raise UserError(f"the policy follows {c.num_tracks} points a view, the tracks have {points.shape[3]}")
            images = torch.from_numpy(batch["images"]).to(policy.device).float() / 255
            codes, code_indices = tokenizer.encode(points_to_velocities(points), images)
            decoded = tokenizer.decode_points(codes, points[:, :, :1])
            texts = [frames.texts[number] for number in batch["text_ids"]]
            text = model.text_encoder.prepare(texts).to(policy.device)
            condition = model.encode(images, text)
            found = {
                "decoded": metrics_beside_still(decoded, points, c.img_shape, c.views),
                "predicted": forward_measures(model, tokenizer, condition, points, code_indices),
            }
            if model.config.codes == "soft":
                found["soft"] = soft_measures(model, tokenizer, condition, points, code_indices)
            if draws is not None:
                found["best_sample"], found["mean_sample"] = sample_measures(
                    model, tokenizer, condition, points, draws.sampling, draws.samples, generator
                )
            for name, measures in found.items():
                parts.setdefault(name, []).append((len(indices), measures))
    return {name: _mean(measures) for name, measures in parts.items()}


def _mean(parts: list[tuple[int, dict[str, float]]]) -> dict[str, float]:
    sizes = [size for size, _ in parts]
    means = {name: float(np.average([found[name] for _, found in parts], weights=sizes)) for name in parts[0][1]}
    return means | motion_explained(means)


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("policy.evaluate", __doc__)
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_BUNDLE, metavar="FILE", help="bundle")
    parser.add_argument("--datasets", required=True, help="demonstrations, e.g. [libero_10:traj-0.1]; see demos.spec")
    DataRoots.add_options(parser)
    parser.add_argument("--frames", type=cli.positive, default=512, metavar="N", help="spread evenly (default 512)")
    parser.add_argument("--num-samples", type=cli.positive, metavar="N", help="also draw so many predictions of each")
    parser.add_argument(
        "--ar-sampling",
        choices=[name for name in AR_SAMPLING if name != "argmax"],
        default="topk",
        help="how they are drawn: among the 10 likeliest codes, or the likeliest that have .9 (default topk)",
    )
    parser.add_argument("--temperature", type=float, default=1.0, metavar="T", help="of drawing (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of drawing (default 0)")
    cli.add_device(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write everything as JSON")
    args = parser.parse_args(argv)
    policy = load_policy(args.checkpoint, device=args.device)
    frames = FrameDataset(
        args.datasets,
        root=args.demos_root,
        tracks_root=args.tracks_root,
        keys={"images", "tracks", "text"},
        mode="traj",
        views=policy.views,
        track_horizon=policy.motion_tokenizer.config.track_pred_horizon,
    )
    draws = Draws(args.num_samples, ar_sampling(args.ar_sampling, args.temperature), args.seed)
    measures = code_measures(policy, frames, args.frames, draws if args.num_samples else None)
    about = policy.describe()
    print(f"{about['name']} {about['hash']} on {args.datasets}: {len(frames.episodes)} episodes, {len(frames)} frames")
    for name, of_it in measures.items():
        print(f"{TITLES[name].format(n=args.num_samples)}: {metrics_text(of_it)}")
    if args.out is not None:
        document = {"policy": about, "datasets": args.datasets, "frames": args.frames, **measures}
        with replacing(args.out) as temporary:
            temporary.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    cli.run(main)
