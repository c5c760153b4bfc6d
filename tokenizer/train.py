"""Trains a motion tokenizer on the point tracks of demonstrations.

  python -m tokenizer.train run_name=mine train_datasets='[libero_10:traj0.9]' val_datasets='[libero_10:traj-0.1]'
  python -m tokenizer.train --config-name small run_name=mine train_datasets='[libero_object:traj1]' max_minutes=20

Demonstrations are read from demos_root, tracks from tracks_root (python -m sim.collect writes both). The result is
runs/motion_tokenizer/RUN_NAME/latest.safetensors; a run that was stopped continues with resume=true.
"""

from common import cli
from tokenizer.tracks.recipe import TokenizerRecipe
from training.command import training_command

main = training_command(TokenizerRecipe, "tokenizer.train", __doc__)

if __name__ == "__main__":
    cli.run(main)
