"""How good a masked model is on pairs that it was not trained on: what it predicts, and what it generates."""

from collections.abc import Callable, Iterable

import numpy as np
import torch

from common.errors import UserError
from tokenizer.multimodal.dataset import TokenDataset
from tokenizer.multimodal.generation import Target
from tokenizer.multimodal.masking import fixed_batch
from tokenizer.multimodal.meaning import Meaning
from tokenizer.multimodal.model import Loss, MaskedModel, by_modality, loss_of
from tokenizer.multimodal.rollout import NEXT, roll_out
from tokenizer.multimodal.similarity import grey, ssim

BATCH = 32
Measures = dict[str, float]
Shown = Callable[[list[np.ndarray]], Iterable[np.ndarray]]
"""Goes over batches, to show how far it is."""


@torch.no_grad()
def prediction(model: MaskedModel, data: TokenDataset, seed: int = 0, shown: Shown = iter) -> Measures:
    """Loss (nats) and accuracy of each modality over all pairs; what is masked depends on ``seed`` alone."""
    sums, right, counts = (torch.zeros(len(model.config.modalities)) for _ in range(3))
    for rows in shown(_batches(len(data))):
        batch = fixed_batch(data[rows], model.config, seed, rows)
        found = loss_of(model, {name: values.to(model.pos_emb.device) for name, values in batch.items()})
        sums, right, counts = sums + found.sums.cpu(), right + found.right.cpu(), counts + found.counts.cpu()
    return by_modality(model.config, Loss(torch.zeros(()), sums, right, counts))


def generated(
    model: MaskedModel, data: TokenDataset, meaning: Meaning, targets: list[Target], seed: int = 0, shown: Shown = iter
) -> dict[str, Measures]:
    """The next frame as it is generated from the present one: ``generated``, beside ``still``, where nothing moves.

    Of images PSNR (dB) and SSIM, against the true next one as the image tokenizer gives it back; of joints that are
    seen in both the distance (px of the canvas).

    Raises:
        UserError: something else than the next frame is asked for.
    """
    wanted = [target.modality for target in targets]
    if strange := [name for name in wanted if not name.endswith(NEXT)]:
        raise UserError(f"{strange[0]} is not of the next frame; ask for some of tok_rgb_next, coords_next")
    found: dict[str, dict[str, list[float]]] = {"generated": {}, "still": {}}
    for rows in shown(_batches(len(data))):
        truth = data[rows]
        given = {name: torch.from_numpy(ids) for name, ids in truth.items() if not name.endswith(NEXT)}
        (made,) = roll_out(model, given, targets, 1, seed + int(rows[0]))
        for name in wanted:
            present = truth[name.removesuffix(NEXT)]
            for key, ids in (("generated", made[name].cpu().numpy()), ("still", present)):
                for measure, values in _errors(name, ids, truth[name], meaning).items():
                    found[key].setdefault(measure, []).extend(values)
    return {key: {name: float(np.mean(values)) for name, values in of_key.items()} for key, of_key in found.items()}


def _errors(modality: str, ids: np.ndarray, truth: np.ndarray, meaning: Meaning) -> dict[str, list[float]]:
    """Of each sample, or of each joint."""
    accuracy = {f"accuracy_{modality}": (ids == truth).mean(1).tolist()}
    if modality == "tok_rgb_next":
        images, true = meaning.image(ids), meaning.image(truth)
        error = np.square(images.astype(np.float64) - true).mean((1, 2, 3))
        similar = [ssim(grey(a), grey(b)) for a, b in zip(images, true, strict=True)]
        return {"psnr": (10 * np.log10(255**2 / np.maximum(error, 1e-2))).tolist(), "ssim": similar} | accuracy
    if modality == "coords_next":
        (points, seen), (true_points, true_seen) = meaning.points(ids), meaning.points(truth)
        distance = np.linalg.norm(points - true_points, axis=-1)
        return {"joints_px": distance[seen & true_seen].tolist()} | accuracy
    return accuracy


def _batches(count: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]
