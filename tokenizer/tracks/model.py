"""The motion tokenizer: (b, v, t, n, 2) point trajectories <-> a few discrete codes (AMPLIFY, section 3.1).

Encoder: a causal transformer over time, all views and tracks of one time step in one token. Quantiser: FSQ. Decoder:
a transformer from the codes to one feature vector a time step, then for every track and view a distribution over
the pixels of a small window around where the point is: its motion.
"""

from dataclasses import asdict, dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.conventions import HORIZON, VIEWS
from common.errors import UserError
from tokenizer.fsq import FSQ
from tokenizer.tracks.head_loss import HeadParts, head_loss
from tokenizer.tracks.motion import logits_to_velocities, motion_classes, points_to_velocities, velocities_to_points
from tokenizer.transformer import TransformerDecoder, TransformerEncoder, causal_mask, diagonal_mask
from training import checkpoint
from training.typed_config import from_mapping


@dataclass(frozen=True)
class TokenizerConfig:
    """Everything that determines a motion tokenizer's function. The defaults are the published sizes."""

    views: tuple[str, ...] = VIEWS
    num_tracks: int = 400
    track_pred_horizon: int = HORIZON
    """points a trajectory; there is one velocity, and one code, less"""
    img_shape: tuple[int, int] = (128, 128)
    """(height, width) whose pixels the motion classes count"""
    rel_cls_img_size: tuple[int, int] = (15, 15)
    hidden_dim: int = 768
    num_heads: int = 8
    num_layers: int = 2
    """of the encoder; the decoder has half as many, rounded down"""
    attn_pdrop: float = 0.1
    codebook_size: int = 2048
    decoder_mlp_hidden_dim: int = 256
    causal_encoder: bool | str = True
    """True: causal; False: full; "diag": each time step alone"""
    per_view: bool = False
    cond_on_img: bool = False
    loss_weights: dict[str, float] = field(default_factory=lambda: {"agentview": 0.9, "eye_in_hand": 0.1})

    def __post_init__(self) -> None:
        if self.cond_on_img:
            raise UserError("cond_on_img: image-conditioned tokenizers are not supported; set cond_on_img=false")
        if self.causal_encoder not in (True, False, "diag"):
            raise UserError(f"causal_encoder is {self.causal_encoder!r}; use true, false or diag")
        if missing := [view for view in self.views if view not in self.loss_weights]:
            raise UserError(f"loss_weights has no entry for the view {missing[0]!r}")

    @property
    def num_velocities(self) -> int:
        return self.track_pred_horizon - 1

    @property
    def num_codes(self) -> int:
        """Codes that stand for one trajectory."""
        return self.num_velocities * (len(self.views) if self.per_view else 1)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Encoder(nn.Module):
    """Velocities (b, v, t, n, 2) -> one vector a code (b, s, dim)."""

    def __init__(self, c: TokenizerConfig):
        super().__init__()
        self.per_view = c.per_view
        width = 2 * c.num_tracks * (1 if c.per_view else len(c.views))
        mask = {True: causal_mask, False: None, "diag": diagonal_mask}[c.causal_encoder]
        self.encoder_proj = nn.Linear(width, c.hidden_dim)
        # a point moves by about a fiftieth of half the image a step: the first features should not be as small
        nn.init.normal_(self.encoder_proj.weight, std=50 / sqrt(width))
        self.encoder = TransformerEncoder(
            c.num_codes, c.hidden_dim, c.num_layers, c.num_heads, c.attn_pdrop, mask=mask(c.num_codes) if mask else None
        )

    def forward(self, velocities: Tensor) -> Tensor:
        # tokens (v t) of features (n d), or tokens t of features (v n d)
        x = velocities.flatten(3).flatten(1, 2) if self.per_view else velocities.transpose(1, 2).flatten(2)
        return self.encoder(self.encoder_proj(x))


class Decoder(nn.Module):
    """Codes (b, s, dim) -> logits (b, v, t, n, classes) over where each point moves."""

    def __init__(self, c: TokenizerConfig):
        super().__init__()
        self.views, self.per_view = len(c.views), c.per_view
        dim, classes = c.hidden_dim, c.rel_cls_img_size[0] * c.rel_cls_img_size[1]
        self.decoder = TransformerDecoder(c.num_codes, dim, c.num_layers // 2, c.num_heads, c.attn_pdrop)
        self.track_pos_emb = nn.Embedding(c.num_tracks, dim)
        self.view_emb = nn.Embedding(self.views, dim)
        self.decoder_mlp = nn.Sequential(
            nn.Linear(3 * dim, c.decoder_mlp_hidden_dim), nn.ReLU(), nn.Linear(c.decoder_mlp_hidden_dim, dim)
        )
        self.decoder_proj = nn.Linear(dim, classes)

    def parts(self, codes: Tensor, tracks: Tensor | None = None) -> HeadParts:
        """What the logits are made of; ``tracks`` (n,) picks the track numbers to decode, all by default.

        Published: y -> decoder_proj(y + decoder_mlp([y, track, view])) for each of the v*t*n points. The first Linear
        is a sum of a time, a track and a view part, each of which is computed once; the last two Linears have nothing
        between them, so they are one matrix. Same function, a sixteenth of the work at the published size.
        """
        y = self.decoder(codes.new_zeros(codes.shape), codes)
        y = y.unflatten(1, (self.views, -1)) if self.per_view else y.unsqueeze(1)  # (b, v or 1, t, dim)
        first, second = cast(nn.Linear, self.decoder_mlp[0]), cast(nn.Linear, self.decoder_mlp[2])
        of_time, of_track, of_view = first.weight.chunk(3, 1)
        track = self.track_pos_emb.weight if tracks is None else self.track_pos_emb.weight[tracks]
        return HeadParts(
            time=F.linear(y, of_time),
            track=F.linear(track, of_track),
            view=F.linear(self.view_emb.weight, of_view, first.bias),
            weight=self.decoder_proj.weight @ second.weight,
            shared=self.decoder_proj(y + second.bias),
        )

    def forward(self, codes: Tensor, tracks: Tensor | None = None) -> Tensor:
        """Codes (b, s, dim), track numbers (n,) or all -> logits (b, v, t, n, classes)."""
        p = self.parts(codes, tracks)
        hidden = F.relu(p.time.unsqueeze(3) + (p.view[:, None, None] + p.track))
        return F.linear(hidden, p.weight) + p.shared.unsqueeze(3)


class MotionTokenizer(nn.Module):
    """Encodes and decodes motion; ``config`` says for which views, tracks and horizon.

    >>> tokenizer = MotionTokenizer.load("runs/motion_tokenizer/mine/latest.safetensors")  # doctest: +SKIP
    >>> indices = tokenizer.tokenize(tracks)                                               # doctest: +SKIP
    >>> again = tokenizer.reconstruct(indices, tracks[:, :, :1])                           # doctest: +SKIP
    """

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.config = config
        self.quantize = FSQ(config.hidden_dim, config.codebook_size)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    @classmethod
    def load(cls, path: str | Path) -> "MotionTokenizer":
        """The trained tokenizer of a checkpoint, frozen and in eval mode; CheckpointError for anything else."""
        found = checkpoint.read(path, "motion_tokenizer")
        model = cls(from_mapping(TokenizerConfig, found.config["model"], str(path)))
        checkpoint.load_weights(model, found)
        return model.requires_grad_(False).eval()

    @torch.no_grad()
    def tokenize(self, tracks: Tensor) -> Tensor:
        """Trajectories (b, v, t + 1, n, 2), (row, col) in [-1, 1] -> indices (b, s), int64.

        Raises:
            UserError: the tracks are not of the views, points and length that the tokenizer is for.
        """
        c = self.config
        wanted = (len(c.views), c.track_pred_horizon, c.num_tracks, 2)
        if tracks.shape[1:] != wanted:
            raise UserError(f"tracks must have shape (b, {', '.join(map(str, wanted))}), not {tuple(tracks.shape)}")
        return self.encode(points_to_velocities(tracks))[1]

    @torch.no_grad()
    def reconstruct(self, indices: Tensor, init_points: Tensor) -> Tensor:
        """Indices (b, s) and the points they start from (b, v, 1, n, 2) -> trajectories (b, v, t + 1, n, 2).

        Raises:
            UserError: there are not as many indices, or points, as the tokenizer makes.
        """
        c = self.config
        if indices.ndim != 2 or indices.shape[1] != c.num_codes:
            raise UserError(f"indices must have shape (b, {c.num_codes}), not {tuple(indices.shape)}")
        wanted = (len(indices), len(c.views), 1, c.num_tracks, 2)
        if init_points.shape != wanted:
            raise UserError(f"init_points must have shape {wanted}, not {tuple(init_points.shape)}")
        return self.decode_points(self.quantize.indices_to_codes(indices), init_points)

    def encode(self, velocities: Tensor) -> tuple[Tensor, Tensor]:
        """(b, v, t, n, 2) -> codes (b, s, dim), indices (b, s)."""
        return self.quantize(self.encoder(velocities))

    def decode(self, codes: Tensor) -> Tensor:
        """(b, s, dim) -> velocities (b, v, t, n, 2), whole pixels in normalised units; no gradient."""
        return logits_to_velocities(self.decoder(codes), self.config.img_shape, self.config.rel_cls_img_size)

    def decode_points(self, codes: Tensor, start: Tensor) -> Tensor:
        """(b, s, dim) and first points (b, v, 1, n, 2) -> trajectories (b, v, t + 1, n, 2)."""
        return velocities_to_points(self.decode(codes), start)

    def forward(self, points: Tensor, tracks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The training step: (b, v, t + 1, n, 2) -> loss, indices (b, s).

        The loss is the cross-entropy of where every point moves, averaged for each view and added up with the views'
        weights. ``tracks`` (m,) restricts it to these (an unbiased estimate of the whole at a part of the cost).
        """
        c = self.config
        codes, indices = self.encode(points_to_velocities(points))
        targets = points if tracks is None else points[:, :, :, tracks]
        classes = motion_classes(targets[:, :, :-1], targets[:, :, 1:], c.img_shape, c.rel_cls_img_size)
        weights = torch.tensor([c.loss_weights[view] for view in c.views], device=points.device)
        return head_loss(self.decoder.parts(codes, tracks), classes, weights), indices
