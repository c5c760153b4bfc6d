r"""Trains the masked model on multimodal tokens: to predict any modalities from any others.

  python -m tokenizer.train_multimodal run_name=document train_datasets='[tokens/]'
  python -m tokenizer.train_multimodal --config-name small run_name=arm train_datasets='[tokens/]'

A dataset is a folder of python -m tokenizer.encode_multimodal; its train pairs are trained on, its eval pairs measured.
The default configuration is the document's; modalities, ids and lengths must be those of the tokens. The result is
runs/masked_model/RUN_NAME/latest.safetensors; a run that was stopped continues with resume=true.
"""

from common import cli
from tokenizer.multimodal.recipe import MaskedRecipe
from training.command import training_command

main = training_command(MaskedRecipe, "tokenizer.train_multimodal", __doc__)

if __name__ == "__main__":
    cli.run(main)
