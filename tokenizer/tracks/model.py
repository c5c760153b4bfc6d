"""The motion tokenizer: (b, v, t, n, 2) point trajectories <-> a few discrete codes (AMPLIFY, section 3.1).

Encoder: a causal transformer over time, all views and tracks of one time step in one token. Quantiser: FSQ. Decoder:
a transformer from the codes to one feature vector a time step, then for every track and view a distribution over
the pixels of a small window around where the point is: its motion.
"""

from math import sqrt
from pathlib import Path
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import UserError
from tokenizer.fsq import FSQ
from tokenizer.resnet import ResNet
from tokenizer.tracks.chosen_tracks import ChosenTracks
from tokenizer.tracks.head_loss import Focal, HeadParts, Paths, head_loss
from tokenizer.tracks.loss_terms import counted_diversity_loss, radial_class_weights, soft_diversity_loss
from tokenizer.tracks.motion import (
    classes_to_velocities,
    expected_velocities,
    likeliest_velocities,
    motion_classes,
    points_to_velocities,
    velocities_to_points,
)
from tokenizer.tracks.options import Decoding, TokenizerConfig
from tokenizer.tracks.published import read_tokenizer
from tokenizer.transformer import TransformerDecoder, TransformerEncoder, causal_mask, diagonal_mask
from training import checkpoint
from training.typed_config import from_mapping


class LossResult(NamedTuple):
    """What the training step gives."""

    loss: Tensor
    """scalar, to be minimised"""
    indices: Tensor
    """(b, s), the codes that the loss was computed with"""
    terms: dict[str, Tensor]
    """further scalars, without gradient, that are good to watch"""


class Encoder(nn.Module):
    """Velocities (b, v, t, n, 2), image tokens (b, v, i, e) if the config asks for them -> one vector a code
    (b, s, dim)."""

    scales: Tensor
    """(v, 1, 1, 1)"""

    def __init__(self, c: TokenizerConfig, image_dim: int):
        super().__init__()
        self.per_view, self.cond_on_img = c.per_view, c.cond_on_img
        scales = torch.tensor([c.motion_scales.get(view, 1.0) for view in c.views])
        self.register_buffer("scales", scales.view(-1, 1, 1, 1), persistent=False)
        joined_views = 1 if c.per_view else len(c.views)
        width = 2 * c.num_tracks * joined_views
        self.encoder_proj = nn.Linear(width, c.hidden_dim)
        # a point moves by about a fiftieth of half the image a step: the first features should not be as small
        nn.init.normal_(self.encoder_proj.weight, std=50 / sqrt(width))
        make_mask = {True: causal_mask, False: None, "diag": diagonal_mask}[c.causal_encoder]
        mask = make_mask(c.num_codes) if make_mask else None
        sizes = (c.num_codes, c.hidden_dim, c.num_layers, c.num_heads, c.attn_pdrop)
        self.encoder: TransformerEncoder | TransformerDecoder
        if c.cond_on_img:
            self.cond_proj = nn.Linear(image_dim * joined_views, c.hidden_dim)
            self.encoder = TransformerDecoder(*sizes, mask=mask)
        else:
            self.encoder = TransformerEncoder(*sizes, mask=mask)

    def forward(self, velocities: Tensor, image_tokens: Tensor | None = None) -> Tensor:
        # codes (v t) of features (n d), or codes t of features (v n d); and the image tokens likewise
        x = self.encoder_proj(self._join((velocities * self.scales).flatten(3)))
        if not self.cond_on_img:
            return self.encoder(x)
        assert image_tokens is not None
        return self.encoder(x, self.cond_proj(self._join(image_tokens)))

    def _join(self, x: Tensor) -> Tensor:
        """(b, v, t, d) -> (b, v * t, d), or (b, t, v * d) where views are encoded together"""
        return x.flatten(1, 2) if self.per_view else x.transpose(1, 2).flatten(2)


class Decoder(nn.Module):
    """Codes (b, s, dim) -> logits (b, v, t, n, classes) over where each point moves."""

    def __init__(self, c: TokenizerConfig):
        super().__init__()
        self.views, self.per_view, self.pos_scale = len(c.views), c.per_view, c.decoder_pos_scale
        dim, classes = c.hidden_dim, c.rel_cls_img_size[0] * c.rel_cls_img_size[1]
        self.decoder = TransformerDecoder(c.num_codes, dim, c.num_layers // 2, c.num_heads, c.attn_pdrop)
        self.track_pos_emb = nn.Embedding(c.num_tracks, dim)
        self.view_emb = nn.Embedding(self.views, dim)
        self.decoder_mlp = nn.Sequential(
            nn.Linear(3 * dim, c.decoder_mlp_hidden_dim), nn.ReLU(), nn.Linear(c.decoder_mlp_hidden_dim, dim)
        )
        self.decoder_proj = nn.Linear(dim, classes)

    def parts(self, codes: Tensor, tracks: Tensor | None = None) -> HeadParts:
        """What the logits are made of; ``tracks`` (b, v, n) are the track numbers to decode, all by default.

        Published: y -> decoder_proj(y + decoder_mlp([y, track, view])) for each of the v*t*n points. The first Linear
        is a sum of a time, a track and a view part, each of which is computed once; the last two Linears have nothing
        between them, so they are one matrix. Same function, a sixteenth of the work at the published size.
        """
        y = self.decoder(codes.new_zeros(codes.shape), codes)
        y = y.unflatten(1, (self.views, -1)) if self.per_view else y.unsqueeze(1)  # (b, v or 1, t, dim)
        first, second = cast(nn.Linear, self.decoder_mlp[0]), cast(nn.Linear, self.decoder_mlp[2])
        of_time, of_track, of_view = first.weight.chunk(3, 1)
        track = F.linear(self.track_pos_emb.weight * self.pos_scale, of_track)  # (n, m)
        view = F.linear(self.view_emb.weight * self.pos_scale, of_view, first.bias).unsqueeze(1)  # (v, 1, m)
        return HeadParts(
            time=F.linear(y, of_time),
            point=(view + track).unsqueeze(0) if tracks is None else view + F.embedding(tracks, track),
            weight=self.decoder_proj.weight @ second.weight,
            shared=self.decoder_proj(y + second.bias),
        )

    def forward(self, codes: Tensor, tracks: Tensor | None = None) -> Tensor:
        """Codes (b, s, dim), track numbers (b, v, n) or all -> logits (b, v, t, n, classes)."""
        p = self.parts(codes, tracks)
        hidden = F.relu(p.time.unsqueeze(3) + p.point.unsqueeze(2))
        return F.linear(hidden, p.weight) + p.shared.unsqueeze(3)


class MotionTokenizer(nn.Module):
    """Encodes and decodes motion; ``config`` says for which views, tracks and horizon.

    >>> tokenizer = MotionTokenizer.load("runs/motion_tokenizer/mine/latest.safetensors")  # doctest: +SKIP
    >>> indices = tokenizer.tokenize(tracks)                                               # doctest: +SKIP
    >>> again = tokenizer.reconstruct(indices, tracks[:, :, :1])                           # doctest: +SKIP
    """

    class_weights: Tensor | None

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.config = config
        c = config.loss
        self.quantize = FSQ(config.hidden_dim, config.codebook_size)
        self.vis_enc = ResNet(config.vision_image_size) if config.cond_on_img else None
        self.encoder = Encoder(config, 0 if self.vis_enc is None else self.vis_enc.embed_dim)
        self.decoder = Decoder(config)
        self.focal = Focal(c.focal_gamma, c.focal_alpha) if c.use_focal else None
        weights = None
        if c.class_weight_mode == "radial":
            weights = radial_class_weights(config.rel_cls_img_size, c.class_weight_strength, c.class_weight_power)
        self.register_buffer("class_weights", weights, persistent=False)

    @classmethod
    def load(cls, path: str | Path) -> "MotionTokenizer":
        """The trained tokenizer of a checkpoint, ours or a published one (.pt), frozen and in eval mode.

        Raises:
            CheckpointError: it is something else.
        """
        found = read_tokenizer(path)
        model = cls(from_mapping(TokenizerConfig, found.config["model"], str(path)))
        checkpoint.load_weights(model, found)
        return model.requires_grad_(False).eval()

    @torch.no_grad()
    def tokenize(self, tracks: Tensor, images: Tensor | None = None) -> Tensor:
        """Trajectories (b, v, t + 1, n, 2), (row, col) in [-1, 1] -> indices (b, s), int64.

        ``images`` (b, v, h, w, 3) in [0, 1], of the moment the tracks start at, are needed with ``cond_on_img`` only.

        Raises:
            UserError: the tracks are not of the views, points and length that the tokenizer is for; images are missing.
        """
        c = self.config
        wanted = (len(c.views), c.track_pred_horizon, c.num_tracks, 2)
        if tracks.shape[1:] != wanted:
            raise UserError(f"tracks must have shape (b, {', '.join(map(str, wanted))}), not {tuple(tracks.shape)}")
        return self.encode(points_to_velocities(tracks), images)[1]

    @torch.no_grad()
    def reconstruct(self, indices: Tensor, init_points: Tensor, decode: Decoding | None = None) -> Tensor:
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
        return self.decode_points(self.quantize.indices_to_codes(indices), init_points, decode)

    def encode(self, velocities: Tensor, images: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(b, v, t, n, 2) and, with ``cond_on_img``, (b, v, h, w, 3) in [0, 1] -> codes (b, s, dim), indices (b, s).

        In training mode noise of ``z_noise_std`` is added before the quantiser: who wants codes only, asks in eval.
        """
        return self.quantize(self._with_noise(self.features(velocities, images)))

    def features(self, velocities: Tensor, images: Tensor | None = None) -> Tensor:
        """What is quantised, (b, s, dim): the encoder's output."""
        if self.vis_enc is None:
            return self.encoder(velocities)
        if images is None:
            raise UserError("this tokenizer also encodes images (cond_on_img); give it those the tracks start at")
        tokens = self.vis_enc(images)
        if self.config.cond_cls:
            tokens = torch.cat([tokens.mean(2, keepdim=True), tokens], 2)
        return self.encoder(velocities, tokens)

    def _with_noise(self, z: Tensor) -> Tensor:
        std = self.config.z_noise_std
        return z + std * torch.randn_like(z) if self.training and std else z

    def decode(self, codes: Tensor, decode: Decoding | None = None) -> Tensor:
        """(b, s, dim) -> velocities (b, v, t, n, 2) in normalised units.

        ``decode``, the config's by default, says what becomes of a distribution over motions: ``argmax`` takes the
        likeliest (whole pixels, no gradient), ``expectation`` the mean.
        """
        how = {"argmax": likeliest_velocities, "expectation": expected_velocities}[decode or self.config.decode]
        return how(self.decoder(codes), self.config.img_shape, self.config.rel_cls_img_size)

    def decode_points(self, codes: Tensor, start: Tensor, decode: Decoding | None = None) -> Tensor:
        """(b, s, dim) and first points (b, v, 1, n, 2) -> trajectories (b, v, t + 1, n, 2)."""
        return velocities_to_points(self.decode(codes, decode), start)

    def forward(self, points: Tensor, chosen: ChosenTracks | None = None, images: Tensor | None = None) -> LossResult:
        """The training step on (b, v, t + 1, n, 2) trajectories.

        The loss is the cross-entropy of where every point moves, with what the config's ``loss`` does to it, averaged
        for each view and added up with the views' weights. ``chosen`` restricts it to some tracks (an unbiased
        estimate of the whole at a part of the cost).
        """
        c = self.config
        clean = self.features(points_to_velocities(points), images)
        z = self._with_noise(clean)
        codes, indices = self.quantize(z)
        targets = points if chosen is None else chosen.of(points)
        classes = motion_classes(targets[:, :, :-1], targets[:, :, 1:], c.img_shape, c.rel_cls_img_size)
        loss = head_loss(
            self.decoder.parts(codes, None if chosen is None else chosen.tracks),
            classes,
            torch.tensor([c.loss_weights[view] for view in c.views], device=points.device),
            class_weights=self.class_weights,
            point_weights=None if chosen is None else chosen.weights,
            focal=self.focal,
            paths=self._paths(targets) if c.loss.path_weight else None,
        )
        terms = {}
        if z is not clean:
            terms["codes_changed_by_noise"] = (self.quantize(clean.detach())[1] != indices).float().mean()
        if c.loss.codebook_diversity_weight:
            diversity = self._diversity_loss(z, indices)
            loss = loss + c.loss.codebook_diversity_weight * diversity
            terms["codebook_diversity_loss"] = diversity.detach()
        return LossResult(loss, indices, terms)

    def _paths(self, points: Tensor) -> Paths:
        """What the loss of paths is told about the trajectories (b, v, t + 1, n, 2); one pixel is one."""
        c, half = self.config, torch.tensor(self.config.img_shape, device=points.device) / 2
        classes = torch.arange(c.rel_cls_img_size[0] * c.rel_cls_img_size[1], device=points.device)
        of_classes = classes_to_velocities(classes, c.img_shape, c.rel_cls_img_size)
        return Paths(points_to_velocities(points) * half, of_classes * half, c.loss.path_weight)

    def _diversity_loss(self, z: Tensor, indices: Tensor) -> Tensor:
        """The counted term's value, and the soft one's gradient unless the config wants none."""
        counted = counted_diversity_loss(indices, self.config.actual_codebook_size)
        if self.config.loss.codebook_diversity == "count":
            return counted
        soft = soft_diversity_loss(self.quantize.bounded(z), self.config.levels)
        return counted + soft - soft.detach()
