"""Several frames in a row: what was generated as the next becomes the present."""

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from common.errors import UserError
from tokenizer.multimodal.generation import Generator, Target
from tokenizer.multimodal.model import MaskedModel

NEXT = "_next"


def roll_out(
    model: MaskedModel, given: Mapping[str, Tensor], targets: Sequence[Target], frames: int = 1, seed: int = 0
) -> Iterator[dict[str, Tensor]]:
    """Of each of ``frames`` steps the ids (b, length) of what was given and generated, by modality.

    A modality of the next frame takes the place of the present one for the step after; what has no next, a caption,
    stays; what was given of the present alone is forgotten.

    Raises:
        UserError: nothing is asked for, something is given already, or no present would be left for another step.
    """
    names = [target.modality for target in targets]
    if not names:
        raise UserError(f"nothing is asked for; ask for some of {', '.join(model.config.modalities)}")
    if twice := [name for name in names if name in given or names.count(name) > 1]:
        raise UserError(f"{twice[0]} cannot be asked for: it is given already, or asked for twice")
    if frames > 1 and not any(name.endswith(NEXT) for name in names):
        raise UserError("several frames need one that is asked for, such as tok_rgb_next")
    given = dict(given)
    for frame in range(frames):
        generator = Generator(model, given, seed + frame)
        found = {**given}
        for target in targets:
            found[target.modality] = generator.generate(target)
        yield found
        present = {name.removesuffix(NEXT): ids for name, ids in found.items() if name.endswith(NEXT)}
        lasting = {
            name: ids
            for name, ids in given.items()
            if not name.endswith(NEXT) and f"{name}{NEXT}" not in model.config.modalities
        }
        given = {**present, **lasting}
