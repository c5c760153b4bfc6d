"""Trains forward and inverse dynamics together: images and the instruction -> codes -> actions.

  python -m policy.train_dynamics run_name=mine train_datasets='[libero_goal:traj0.9:action0.9]' \\
      motion_tokenizer_checkpoint=checkpoints/tracks.safetensors
  python -m policy.train_dynamics ... train_datasets='[libero_goal:traj0.96:action0.1]'   # few actions, much video
  python -m sim.eval --suite libero_goal --checkpoint runs/bundle/mine/latest.safetensors

Forward dynamics learns the codes of the true motion (tracks_root), inverse dynamics the actions from the codes that
forward dynamics predicts, and that loss, too, trains forward dynamics (action_weight). Both look through one vision
encoder. The result, runs/bundle/RUN_NAME/latest.safetensors, is a whole policy; python -m policy.bundle --policy FILE
--half makes a file of half its size. A run that was stopped continues with resume=true; init_from=BUNDLE trains a
policy of this kind further.
"""

from common import cli
from policy.recipes.joint import JointRecipe
from training.command import training_command

main = training_command(JointRecipe, "policy.train_dynamics", __doc__)

if __name__ == "__main__":
    cli.run(main)
