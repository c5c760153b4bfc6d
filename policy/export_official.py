"""Writes a bundle, or a part of one, as a published AMPLIFY file (.pt), which the published code loads.

  python -m policy.export_official checkpoints/mine.safetensors mine.pt
  python -m policy.export_official runs/motion_tokenizer/mine/latest.safetensors tokenizer.pt

That code knows fewer designs than ours: what has a function that it cannot express is refused with what is in the way.
Only tensors, numbers, texts, lists and dicts go into the file; python -m policy.import_official reads it again. As
published, forward and inverse dynamics by themselves do without their frozen vision encoder and without their
tokenizer's config.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from common import cli
from common.errors import UserError
from common.files import replacing
from policy.amplify import Amplify
from policy.forward_dynamics import ForwardConfig, ForwardDynamics
from policy.heads.diffusion import DiffusionHead
from policy.heads.flow import FlowHead, position_table
from policy.inverse_dynamics import InverseConfig, InverseDynamics
from policy.load import build
from policy.published import forward_config, inverse_config
from policy.vision import VisionConfig
from tokenizer.tracks.model import MotionTokenizer, TokenizerConfig
from tokenizer.tracks.published import SAME_NAME, tokenizer_config
from tokenizer.transformer import TransformerDecoder, TransformerEncoder
from training import checkpoint
from training.checkpoint import Checkpoint, load_weights
from training.typed_config import from_mapping

Part = MotionTokenizer | ForwardDynamics | InverseDynamics
RECIPE = Path(__file__).with_name("published_recipe.yaml")
_OF_INVERSE = (
    *("type", "num_layers", "num_heads", "attn_pdrop", "action_dim", "proprio_dim", "std", "action_squash"),
    *("action_squash_scale", "action_loss_discount", "diffusion_steps", "flow_matching_steps"),
    *("cond_on_tracks", "cond_on_proprio", "cond_on_img", "cond_on_text"),
)
"""Options of inverse dynamics that have the same name there."""
NEVER = -1e4
"""The bias of an output that is no code and is not to be chosen."""
LONGEST = 512
"""Positions in the published table of a flow head."""
_PATCH, _WIDTH = 32, 512
"""Pixels a side of what a token of ResNet-18 sees, and its numbers."""


def published_bundle(policy: Amplify) -> dict[str, Any]:
    """``config``, ``model`` and ``metadata`` of the published bundle that computes what ``policy`` does.

    Raises:
        UserError: there is none.
    """
    if not policy.share_vision_encoder:
        raise UserError("the published code has one frozen vision encoder for both models; this policy has two")
    tokenizer, forward, inverse = policy.motion_tokenizer, policy.forward_dynamics, policy.inverse_dynamics
    of_forward = _forward_config(forward.config)
    model = of_forward["forward_dynamics"]
    parts: dict[str, Part] = {
        "motion_tokenizer": tokenizer,
        "forward_dynamics": forward,
        "inverse_dynamics": inverse,
    }
    weights = _entries(forward.vision_encoder, "img_encoder.")
    for name, part in parts.items():
        weights |= {f"{name}.{key}": tensor for key, tensor in _state(part).items()}
    return {
        "config": {
            "motion_tokenizer_cfg": _tokenizer_config(tokenizer.config),
            "forward_dynamics_cfg": of_forward,
            "inverse_dynamics_cfg": _inverse_config(inverse.config, tokenizer.config),
            "vision_encoder_cfg": model["vision_encoder"],
            "text_encoder_cfg": model["text_encoder"],
        },
        "model": weights,
        "metadata": {"source_checkpoints": dict.fromkeys(parts)},
    }


def published_part(found: Checkpoint) -> dict[str, Any]:
    """What the published trainer of a motion tokenizer, of forward or of inverse dynamics would have saved for
    ``found``, but for the state of its optimizer.

    Raises:
        UserError: there is none.
    """
    where, described = str(found.path), found.config
    c = from_mapping(TokenizerConfig, described["tokenizer" if "tokenizer" in described else "model"], where)
    model: Part
    if found.kind == "motion_tokenizer":
        model, config = MotionTokenizer(c), _tokenizer_config(c)
    elif found.kind == "forward_dynamics":
        model = ForwardDynamics(from_mapping(ForwardConfig, described["model"], where), c, MotionTokenizer(c).quantize)
        config = _forward_config(model.config)
    elif found.kind == "inverse_dynamics":
        model = InverseDynamics(from_mapping(InverseConfig, described["model"], where), c)
        config = _inverse_config(model.config, c)
    else:
        raise UserError(f"{where} holds a {found.kind} checkpoint, which AMPLIFY does not have")
    load_weights(model, found)
    return {
        "model": _state(model),
        "optimizer": {"state": {}, "param_groups": []},
        "scaler": {},
        "epoch": 0,
        "config": config,
        "train_loss": float("nan"),
        "val_loss": float("nan"),
        "train_global_iter": 0,
        "val_global_iter": 0,
        "scheduler": None,
        "wandb_run_id": None,
    }


def _recipe(part: str) -> dict[str, Any]:
    return yaml.safe_load(RECIPE.read_text())[part]


def _tokenizer_config(config: TokenizerConfig) -> dict[str, Any]:
    found, ours = _recipe("motion_tokenizer"), config.to_dict()
    found |= {name: ours[name] for name in SAME_NAME}
    found |= {"cond_cameraviews": list(config.views), "img_shape": list(config.img_shape)}
    if config.cond_on_img and config.vision_image_size != VisionConfig.image_size:
        found["vision_encoder"]["img_size"] = config.vision_image_size
    found["loss"] |= {
        "loss_weights": ours["loss_weights"],
        "cls_img_size": list(config.img_shape),
        "rel_cls_img_size": list(config.rel_cls_img_size),
    }
    _check(config, tokenizer_config(found))
    return found


def _forward_config(config: ForwardConfig) -> dict[str, Any]:
    found = _recipe("forward_dynamics")
    model = found["forward_dynamics"]
    model["vision_encoder"] = _vision_config(config.vision_encoder)
    model["transformer"] = {
        "n_layer": config.num_layers,
        "n_head": config.num_heads,
        "dropout": config.dropout,
        "bias": config.bias,
    }
    _check(replace(config, mask_codes=False), forward_config(found))
    return found


def _inverse_config(config: InverseConfig, tokenizer: TokenizerConfig) -> dict[str, Any]:
    found = _recipe("inverse_dynamics") | {name: getattr(config, name) for name in _OF_INVERSE}
    found |= {
        "vision_encoder": _vision_config(config.vision_encoder),
        "num_img_tokens": (config.vision_encoder.image_size // _PATCH) ** 2,
        "img_embed_dim": _WIDTH * len(tokenizer.views),
    }
    _check(config, inverse_config(found, tokenizer.true_horizon))
    return found


def _vision_config(config: VisionConfig) -> dict[str, Any]:
    found = {
        "model_name": config.name,
        "frozen": True,
        "lr_multiplier": 1.0,
        "get_patches": True,
        "get_cls_and_patches": False,
        "patch_pooling": None,
    }
    return found | ({} if config.image_size == VisionConfig.image_size else {"img_size": config.image_size})


def _check(ours: TokenizerConfig | ForwardConfig | InverseConfig, back: Any) -> None:
    """What does not come back as it was has no published form."""
    one, other = _flat(ours.to_dict()), _flat(back.to_dict())
    if differing := [f"{name}={one[name]}" for name in one if one[name] != other.get(name)]:
        raise UserError(f"the published code does not know {', '.join(differing[:3])}; this cannot be written")


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by dotted names; where pretrained weights once lay does not matter."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        elif name != "weights":
            found[prefix + name] = list(value) if isinstance(value, tuple) else value
    return found


def _entries(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """The state of ``module``, in the types that it has there."""
    found = {}
    for name, tensor in module.state_dict().items():
        counts = name.endswith("num_batches_tracked")
        found[prefix + name] = (tensor.long() if counts else tensor.float()).detach().cpu().clone()
    return found


def _state(part: Part) -> dict[str, Tensor]:
    """Every entry of the published state, under its name: weights, and the masks and tables that go with them."""
    found = {name: tensor for name, tensor in _entries(part).items() if not name.startswith("vision_encoder.")}
    if isinstance(part, MotionTokenizer):
        c = part.config
        views = len(c.views) * (c.vision_image_size // _PATCH) ** 2
        found |= _masks("encoder.encoder", part.encoder.encoder, views)
        found |= _masks("decoder.decoder", part.decoder.decoder, c.num_codes)
        steps = torch.arange(0, c.hidden_dim, 2).float()
        found["decoder.fixed_positional_emb.inv_freq"] = 1.0 / 10000 ** (steps / c.hidden_dim)
    elif isinstance(part, ForwardDynamics):
        found |= _masks("trunk", part.trunk)
        if part.config.mask_codes:  # the published code masks nothing
            found["unembed.bias"][part.quantize.num_codes :] = NEVER
    else:
        found |= _of_head(part, found)
    return found


def _of_head(inverse: InverseDynamics, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the published state has of the action head besides its ``weights``."""
    head, c = inverse.head, inverse.config
    if isinstance(head, DiffusionHead):
        return {"head.policy.noise_pred_net._dummy_variable": torch.empty(0)}
    if isinstance(head, FlowHead):
        net = "head.policy.net."
        dim = inverse.tokenizer_config.hidden_dim
        found = {
            f"{net}transformer_blocks.{i}.pos_embed.pe": position_table(LONGEST, dim).unsqueeze(0)
            for i in range(c.num_layers)
        }
        both = {name: tensor for name, tensor in {**weights, **found}.items() if name.startswith(net)}
        solver = "head.policy.solver.velocity_model.model."  # which holds the network once more
        return found | {name.replace(net, solver, 1): tensor for name, tensor in both.items()}
    tokens = 0 if inverse.vision_encoder is None else inverse.vision_encoder.num_tokens
    tokens += c.cond_on_text + c.cond_on_proprio + inverse.tokenizer_config.num_codes * c.cond_on_tracks
    return _masks("head.decoder", head.network, tokens)


def _masks(name: str, module: nn.Module, condition: int = 0) -> dict[str, Tensor]:
    """The attention masks of every layer of the stack of this name, (1, 1, queries, keys) bool; a decoder attends to
    ``condition`` tokens."""
    assert isinstance(module, TransformerEncoder | TransformerDecoder)
    length = len(module.transformer.pos_emb.weight)
    own = torch.ones(length, length, dtype=torch.bool) if module.mask is None else module.mask.cpu()
    masks = {}
    for i in range(len(module.transformer.h)):
        layer = f"{name}.transformer.h.{i}"
        if isinstance(module, TransformerEncoder):
            masks[f"{layer}.attn.attn_mask"] = own[None, None].clone()
        else:
            masks[f"{layer}.self_attn.attn_mask"] = own[None, None].clone()
            masks[f"{layer}.cross_attn.attn_mask"] = torch.ones(1, 1, length, condition, dtype=torch.bool)
    return masks


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("policy.export_official", __doc__)
    parser.add_argument("checkpoint", type=Path, help="a bundle of ours, or a part of one (.safetensors)")
    parser.add_argument("out", type=Path, help="file to write (.pt)")
    args = parser.parse_args(argv)
    found = checkpoint.read(args.checkpoint)
    published = published_bundle(build(found)) if found.kind == "bundle" else published_part(found)
    with replacing(args.out) as temporary:
        torch.save(published, temporary)
    print(f"wrote {args.out}: {len(published['model'])} tensors, {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    cli.run(main)
