"""Measures how much of a motion survives a joint tokenizer.

  python -m tokenizer.evaluate_joints checkpoints/joints-arm.safetensors '[libero_goal:traj-0.25]' --model panda
  python -m tokenizer.evaluate_joints checkpoints/joints-humanoid.safetensors walk.npy --model humanoid.xml

Clips are encoded, decoded and rebuilt as motions. Errors are of joints (rad), of the root (m, rad), of velocities, and,
with --model, of where the parts of the body are (mm); beside them stands how evenly the codes are used. Datasets are
those of python -m tokenizer.train_joints. A checkpoint may be of any joint tokenizer, or several for a table.
"""

import json
from pathlib import Path

from common import cli
from common.files import replacing
from demos.forward_kinematics import forward_kinematics
from demos.roots import DataRoots
from tokenizer.joints.clips import read_clips
from tokenizer.joints.evaluation import evaluate
from tokenizer.joints.model import KIND, JointTokenizer
from training import checkpoint

COLUMNS = {
    "joint_rmse_rad": "joints rad",
    "root_m": "root m",
    "root_rad": "root rad",
    "mpjpe_mm": "MPJPE mm",
    "end_effector_mm": "end eff. mm",
    "velocity_rmse": "velocity",
    "perplexity": "perplexity",
    "dead_code_ratio": "dead",
}


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("tokenizer.evaluate_joints", __doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="joint tokenizers")
    parser.add_argument("datasets", metavar="DATASETS", help="motions, e.g. [libero_goal:traj-0.25] or walk.npy")
    DataRoots.add_options(parser, tracks=False)
    parser.add_argument("--motions", metavar="NUMBERS", help="which of them: 0,2,5-12 or names; all by default")
    parser.add_argument("--model", metavar="FILE", help="MJCF of the body, or panda: places are measured too")
    parser.add_argument("--site", metavar="NAME", help="of the model: its end effector")
    parser.add_argument("--windows", action="store_true", help="encode each window for itself, as in training")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default CHECKPOINT with .evaluation.json as suffix")
    args = parser.parse_args(argv)

    kinematics = None if args.model is None else forward_kinematics(args.model, args.site)
    rows = []
    for path in args.checkpoints:
        tokenizer = JointTokenizer.load(path)
        clips = read_clips(args.datasets, args.demos_root, tokenizer.config, tokenizer.frame_rate, args.motions)
        measures = evaluate(tokenizer, clips, kinematics, args.windows)
        found = checkpoint.read(path, KIND)
        document = {"checkpoint": str(path), "digest": found.digest, "datasets": args.datasets, "clips": len(clips)}
        out = args.out or path.with_suffix(".evaluation.json")
        with replacing(out) as temporary:
            temporary.write_text(json.dumps(document | measures, indent=1) + "\n")
        rows.append((path, tokenizer.config.quantizer, {**measures["motion"], **measures["codes"]}, out))
    print(f"{len(clips)} clips of {args.datasets}")
    shown = [name for name in COLUMNS if name in rows[0][2]]
    print(f"{'quantizer':<11}" + "".join(f"{COLUMNS[name]:>13}" for name in shown))
    for path, quantizer, shown_values, out in rows:
        print(f"{quantizer:<11}" + "".join(f"{shown_values[name]:>13.4g}" for name in shown) + f"  {path}; wrote {out}")


if __name__ == "__main__":
    cli.run(main)
