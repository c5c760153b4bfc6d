"""Trains a Motion VAE: motion of a whole body to a few continuous vectors a second and back.

  python -m demos.synthetic_body data/bodies
  python -m tokenizer.train_body --config-name small run_name=mine train_datasets='[data/bodies]'
  python -m tokenizer.train_body run_name=nymeria train_datasets='[nymeria/h5]'

Datasets are folders or files of body motion as Nymeria's (HDF5, docs/motion.md). Without val_datasets a tenth of the
recordings is held out. The result is runs/body_tokenizer/RUN_NAME/latest.safetensors; a run that was stopped continues
with resume=true.
"""

from common import cli
from tokenizer.body.recipe import BodyRecipe
from training.command import training_command

main = training_command(BodyRecipe, "tokenizer.train_body", __doc__)

if __name__ == "__main__":
    cli.run(main)
