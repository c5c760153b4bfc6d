"""The masked model: from the tokens that are given, of any modalities, to those that are asked for."""

from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tokenizer.multimodal.network import Decoder, Encoder, layer_norm, sine_positions
from tokenizer.multimodal.options import MaskedModelConfig
from training import checkpoint
from training.typed_config import from_mapping

KIND = "masked_model"


class Places(NamedTuple):
    """Where tokens belong: (b, t) positions within their modality, and modalities by number; ``pad_mask`` is True
    where there is something, None where that is everywhere."""

    positions: Tensor
    modalities: Tensor
    pad_mask: Tensor | None = None


class Context(NamedTuple):
    """What the decoder looks at: (b, t, dim), and where something is."""

    features: Tensor
    pad_mask: Tensor | None


class MaskedModel(nn.Module):
    """Any modalities from any others.

    >>> model = MaskedModel.load("checkpoints/multimodal.safetensors")          # doctest: +SKIP
    >>> context = model.encode(tokens, given)                                   # doctest: +SKIP
    >>> logits = model.logits(model.decode(asked, context))                     # doctest: +SKIP
    """

    pos_emb: Tensor

    def __init__(self, config: MaskedModelConfig):
        super().__init__()
        self.config = c = config
        self.register_buffer("pos_emb", sine_positions(max(c.max_seq_lens), c.dim), persistent=False)
        self.enc_tok_emb = nn.Embedding(c.vocab_size, c.dim)
        self.enc_mod_emb = nn.Embedding(len(c.modalities), c.dim)
        self.dec_mod_emb = nn.Embedding(len(c.modalities), c.dim)
        self.encoder = Encoder(c.dim, c.enc_depth, c.head_dim, c.mlp_ratio)
        self.decoder = Decoder(c.dim, c.dec_depth, c.head_dim, c.mlp_ratio)
        self.dec_context_proj = nn.Linear(c.dim, c.dim)
        self.to_logits = nn.Linear(c.dim, c.vocab_size, bias=False)
        self.enc_norm, self.dec_norm = layer_norm(c.dim), layer_norm(c.dim)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(self.dec_context_proj.bias)
        nn.init.zeros_(self.to_logits.weight)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The trained model of a checkpoint, frozen and in eval mode; CheckpointError for anything else."""
        found = checkpoint.read(path, KIND)
        model = cls(from_mapping(MaskedModelConfig, found.config["model"], str(path)))
        checkpoint.load_weights(model, found)
        return model.requires_grad_(False).eval()

    def encode(self, tokens: Tensor, given: Places) -> Context:
        """Ids (b, t) that are given, and where they belong -> what the decoder looks at."""
        positions = self.pos_emb[given.positions]
        x = self.enc_tok_emb(tokens) + self.enc_mod_emb(given.modalities) + positions
        x = self.enc_norm(self.encoder(x, given.pad_mask))
        return Context(self.dec_context_proj(x) + positions, given.pad_mask)

    def decode(self, asked: Places, context: Context) -> Tensor:
        """Where tokens are asked for -> features (b, t, dim) of each; what is padding means nothing."""
        x = self.dec_mod_emb(asked.modalities) + self.pos_emb[asked.positions]
        if asked.pad_mask is not None:
            x = x * asked.pad_mask[..., None]
        return self.dec_norm(self.decoder(x, context.features, asked.pad_mask, context.pad_mask))

    def logits(self, features: Tensor) -> Tensor:
        """Of features (..., dim): (..., vocab_size)."""
        return self.to_logits(features)

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Of the optimiser: norms and biases do not decay, embeddings do."""
        kept = [p for name, p in self.named_parameters() if "norm" in name.split(".")[-2] or name.endswith(".bias")]
        same = {id(p) for p in kept}
        decaying = [p for p in self.parameters() if id(p) not in same]
        return [{"params": decaying, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


class Loss(NamedTuple):
    """The loss of a batch; of each modality (m,) the sum of its targets' losses, how many of them are predicted
    rightly, and how many there are."""

    loss: Tensor
    sums: Tensor
    right: Tensor
    counts: Tensor


def loss_of(model: MaskedModel, batch: dict[str, Tensor]) -> Loss:
    """The cross-entropy of what is asked for, in nats.

    With ``loss=modalities`` the mean over a modality's targets, averaged over all modalities; one without targets in
    this batch counts as 0, as published.
    """
    given = Places(batch["enc_positions"], batch["enc_modalities"], batch["enc_pad_mask"])
    asked = Places(batch["dec_positions"], batch["dec_modalities"], batch["dec_pad_mask"])
    features = model.decode(asked, model.encode(batch["enc_tokens"], given))
    there = batch["dec_pad_mask"]
    logits = model.logits(features[there]).float()  # of the targets alone: all positions would take gigabytes
    targets, modalities = batch["dec_tokens"][there].long(), batch["dec_modalities"][there].long()
    each = F.cross_entropy(logits, targets, reduction="none")
    count = len(model.config.modalities)
    sums = each.new_zeros(count).index_add(0, modalities, each)
    counts = torch.bincount(modalities, minlength=count)
    right = torch.bincount(modalities[logits.argmax(-1) == targets], minlength=count)
    loss = (sums / counts.clamp(min=1)).mean() if model.config.loss == "modalities" else each.mean()
    return Loss(loss, sums, right, counts)


def by_modality(c: MaskedModelConfig, found: Loss) -> dict[str, float]:
    """Loss (nats) and accuracy of each modality that has targets."""
    measures = {}
    for number, name in enumerate(c.modalities):
        if count := int(found.counts[number]):
            measures[f"loss_{name}"] = float(found.sums[number]) / count
            measures[f"accuracy_{name}"] = float(found.right[number]) / count
    return measures
