"""Trains forward dynamics: images and the instruction -> the codes of the motion that follows.

  python -m policy.train_forward run_name=my_forward train_datasets='[libero_10:traj0.9]' \\
      motion_tokenizer_checkpoint=runs/motion_tokenizer/my_tokenizer/latest.safetensors
  python -m policy.train_forward --config-name forward_small ... max_minutes=60 threads=2

The true motion comes from tracks_root, as codes of the tokenizer, made once for all frames. The result is
runs/forward_dynamics/RUN_NAME/latest.safetensors; a run that was stopped continues with resume=true.
"""

from common import cli
from policy.recipes.forward import ForwardRecipe
from training.command import training_command

main = training_command(ForwardRecipe, "policy.train_forward", __doc__)

if __name__ == "__main__":
    cli.run(main)
