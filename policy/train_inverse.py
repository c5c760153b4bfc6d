"""Trains inverse dynamics: motion codes, images, instruction and proprioception -> actions.

  python -m policy.train_inverse run_name=my_inverse train_datasets='[libero_10:action0.9]' \\
      motion_tokenizer_checkpoint=runs/motion_tokenizer/my_tokenizer/latest.safetensors \\
      forward_dynamics_checkpoint=runs/forward_dynamics/my_forward/latest.safetensors
  python -m policy.train_inverse --config-name inverse_small ... max_minutes=60 threads=2

code_source says whose codes it sees: the tokenizer's (true motion), those that forward dynamics predicts, as at run
time, or mixed. They are made once for all frames. The result is runs/inverse_dynamics/RUN_NAME/latest.safetensors; a
run that was stopped continues with resume=true.
"""

from common import cli
from policy.recipes.inverse import InverseRecipe
from training.command import training_command

main = training_command(InverseRecipe, "policy.train_inverse", __doc__)

if __name__ == "__main__":
    cli.run(main)
