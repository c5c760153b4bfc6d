"""The command of every trainer: reads its configuration from the command line, makes the recipe, trains."""

from collections.abc import Callable

from training.hydra_config import parse
from training.recipe import Recipe
from training.trainer import Trainer


def training_command(recipe: type[Recipe], module: str, doc: str | None) -> Callable[[list[str]], None]:
    """The ``main(argv)`` of ``python -m MODULE``, whose help is ``doc``, the module's docstring."""

    def main(argv: list[str]) -> None:
        command = f"python -m {module}"
        config = parse(recipe.config_type, recipe.config_files, argv, command=command, about=doc or "")
        if config is not None:
            Trainer(recipe(config)).fit()

    return main
