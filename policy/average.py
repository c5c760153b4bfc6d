"""Averages the weights of two bundles, for example of a policy before and after it was trained further.

  python -m policy.average checkpoints/default.safetensors checkpoints/tuned.safetensors --name mine

Trained further on little data, a policy learns that and forgets what it knew; the mean of its weights before and after
often keeps both (Wortsman et al., Robust fine-tuning of zero-shot models, 2022). --share is that of the second bundle.
"""

from pathlib import Path

from common import cli
from common.errors import UserError
from policy.amplify import Amplify
from policy.bundle import save_bundle
from policy.load import build, bundle_config
from training import checkpoint


def average(first: Amplify, second: Amplify, share: float, name: str) -> Amplify:
    """``first`` with weights (1 - share) of its own and ``share`` of ``second``; what both learned from is its origin.

    Raises:
        UserError: they are not of one design.
    """
    ours, theirs = ({**bundle_config(policy), "name": ""} for policy in (first, second))
    if ours != theirs:
        differing = ", ".join(part for part in ours if ours[part] != theirs[part])
        raise UserError(f"the bundles differ in {differing}; only those of one design have a mean")
    others = second.state_dict()
    for key, weight in first.state_dict().items():
        if weight.is_floating_point():
            weight.lerp_(others[key], share)
    first.name, first.origin = name, first.origin | second.origin
    first.known_instructions.add(second.known_instructions.embeddings)
    return first


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("policy.average", __doc__)
    parser.add_argument("first", type=Path, metavar="BUNDLE", help="a bundle")
    parser.add_argument("second", type=Path, metavar="OTHER", help="another one of the same design")
    parser.add_argument("--share", type=float, default=0.5, help="of the second one's weights (default 0.5)")
    parser.add_argument("--name", required=True, help="name of the policy; also of the file")
    parser.add_argument("--out", type=Path, help="file to write (default: checkpoints/NAME.safetensors)")
    parser.add_argument("--half", action="store_true", help="store matrices as bfloat16: half the size")
    args = parser.parse_args(argv)
    if not 0 <= args.share <= 1:
        raise UserError(f"--share is {args.share}; it must lie between 0 and 1")
    found = [checkpoint.read(path, "bundle") for path in (args.first, args.second)]
    policy = average(build(found[0]), build(found[1]), args.share, args.name)
    out = args.out or Path("checkpoints") / f"{args.name}.safetensors"
    shares = {found[0].digest: 1 - args.share, found[1].digest: args.share}
    info = {**found[0].info, "averaged": shares}  # how its parts were trained, the first one's know
    digest = save_bundle(policy, out, args.half, info)
    print(f"wrote {out}: {1 - args.share:g} of {found[0].digest}, {args.share:g} of {found[1].digest}, hash {digest}")


if __name__ == "__main__":
    cli.run(main)
