r"""Trains a tokenizer of joint motion (a motion VQ-VAE) on motion files or on how the arm moves in demonstrations.

  python -m tokenizer.train_joints run_name=arm train_datasets='[libero_goal:traj0.9]' \
    val_datasets='[libero_goal:traj-0.1]'
  python -m tokenizer.train_joints run_name=walk train_datasets='[walk.npy]' quantizer=residual
  python -m tokenizer.train_joints --config agent.yaml run_name=g1 train_datasets='[clips/]'

A dataset is the name of a suite's demonstrations in demos_root with a share of them, or an NPY or PKL file of motions,
or a folder of such files (docs/motion.md), both with a share if wanted: clips/:traj0.9. --config reads a motion
VQ-VAE's YAML, the one that also holds a robot's joint map; what is given beside it wins. The result is
runs/joint_tokenizer/RUN_NAME/latest.safetensors; a run that was stopped continues with resume=true.
"""

from common import cli
from tokenizer.joints.document import settings_in
from tokenizer.joints.recipe import JointRecipe
from training.command import training_command

train = training_command(JointRecipe, "tokenizer.train_joints", __doc__)


def main(argv: list[str]) -> None:
    train(settings_in(argv))


if __name__ == "__main__":
    cli.run(main)
