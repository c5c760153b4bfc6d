r"""Trains an image tokenizer on videos or demonstrations: images of 256 x 256 pixels become a square of ids.

  python -m tokenizer.train_images run_name=images train_datasets='["libero_10:traj0.8"]' \
    val_datasets='["libero_10:traj-0.2"]' demos_root=data/demos
  python -m tokenizer.train_images --config-name small run_name=people train_datasets='[videos/]'

A dataset is the name of a suite's demonstrations in demos_root with a share of them, a folder of videos, or one in Penn
Action's layout (docs/multimodal.md). The result is runs/image_tokenizer/RUN_NAME/latest.safetensors, for
python -m tokenizer.encode_multimodal; a run that was stopped continues with resume=true.
"""

from common import cli
from tokenizer.multimodal.image_recipe import ImageRecipe
from training.command import training_command

main = training_command(ImageRecipe, "tokenizer.train_images", __doc__)

if __name__ == "__main__":
    cli.run(main)
