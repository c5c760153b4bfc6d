"""Writes a bundle as a published AMPLIFY bundle (.pt), which the published code loads.

  python -m policy.export_official checkpoints/mine.safetensors mine.pt

That code knows fewer designs than ours: a bundle whose function it cannot express is refused with what is in the way.
Only tensors, numbers, texts, lists and dicts go into the file; python -m policy.import_official reads it again.
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
from policy.load import build
from policy.published import forward_config, inverse_config
from policy.vision import VisionConfig
from tokenizer.tracks.published import SAME_NAME, tokenizer_config
from tokenizer.transformer import TransformerDecoder, TransformerEncoder
from training import checkpoint

RECIPE = Path(__file__).with_name("published_recipe.yaml")
_OF_INVERSE = (
    *("type", "num_layers", "num_heads", "attn_pdrop", "action_dim", "proprio_dim", "std", "action_squash"),
    *("action_squash_scale", "action_loss_discount", "diffusion_steps", "flow_matching_steps"),
    *("cond_on_tracks", "cond_on_proprio", "cond_on_img", "cond_on_text"),
)
"""Options of inverse dynamics that have the same name there."""


NEVER = -1e4
"""The bias of an output that is no code and is not to be chosen."""


def published_bundle(policy: Amplify) -> dict[str, Any]:
    """``config``, ``model`` and ``metadata`` of the published bundle that computes what ``policy`` does.

    Raises:
        UserError: there is none.
    """
    config = _config(policy)
    return {
        "config": config,
        "model": _weights(policy),
        "metadata": {"source_checkpoints": dict.fromkeys(("motion_tokenizer", "forward_dynamics", "inverse_dynamics"))},
    }


def _config(policy: Amplify) -> dict[str, Any]:
    tokenizer, forward, inverse = (
        policy.motion_tokenizer.config,
        policy.forward_dynamics.config,
        policy.inverse_dynamics.config,
    )
    recipe = yaml.safe_load(RECIPE.read_text())
    vision = _vision_config(forward.vision_encoder)
    of_tokenizer, of_forward, of_inverse = (
        recipe[name] for name in ("motion_tokenizer", "forward_dynamics", "inverse_dynamics")
    )
    ours = tokenizer.to_dict()
    of_tokenizer |= {name: ours[name] for name in SAME_NAME}
    of_tokenizer |= {"cond_cameraviews": list(tokenizer.views), "img_shape": list(tokenizer.img_shape)}
    if tokenizer.cond_on_img and tokenizer.vision_image_size != VisionConfig.image_size:
        of_tokenizer["vision_encoder"]["img_size"] = tokenizer.vision_image_size
    of_tokenizer["loss"] |= {
        "loss_weights": ours["loss_weights"],
        "cls_img_size": list(tokenizer.img_shape),
        "rel_cls_img_size": list(tokenizer.rel_cls_img_size),
    }
    model = of_forward["forward_dynamics"]
    model["vision_encoder"] = vision
    model["transformer"] = {
        "n_layer": forward.num_layers,
        "n_head": forward.num_heads,
        "dropout": forward.dropout,
        "bias": forward.bias,
    }
    of_inverse |= {name: getattr(inverse, name) for name in _OF_INVERSE}
    encoder = policy.forward_dynamics.vision_encoder
    of_inverse |= {
        "vision_encoder": vision,
        "num_img_tokens": encoder.num_tokens,
        "img_embed_dim": encoder.embed_dim * len(tokenizer.views),
    }
    _check(policy, of_tokenizer, of_forward, of_inverse)
    return {
        "motion_tokenizer_cfg": of_tokenizer,
        "forward_dynamics_cfg": of_forward,
        "inverse_dynamics_cfg": of_inverse,
        "vision_encoder_cfg": vision,
        "text_encoder_cfg": model["text_encoder"],
    }


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


def _check(policy: Amplify, tokenizer: dict[str, Any], forward: dict[str, Any], inverse: dict[str, Any]) -> None:
    """What does not come back as it was has no published form."""
    if not policy.share_vision_encoder:
        raise UserError("the published code has one frozen vision encoder for both models; this policy has two")
    if (head := policy.inverse_dynamics.config.type) != "gaussian":
        raise UserError(f"published files hold tables of the {head} head that are not written yet; only gaussian is")
    parts: list[tuple[Any, Any]] = [
        (policy.motion_tokenizer.config, tokenizer_config(tokenizer)),
        (replace(policy.forward_dynamics.config, mask_codes=False), forward_config(forward)),
        (policy.inverse_dynamics.config, inverse_config(inverse, tokenizer["true_horizon"])),
    ]
    for ours, back in parts:
        one, other = _flat(ours.to_dict()), _flat(back.to_dict())
        if differing := [f"{name}={one[name]}" for name in one if one[name] != other.get(name)]:
            raise UserError(
                f"the published code does not know {', '.join(differing[:3])}; this policy cannot be written"
            )


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by dotted names; where pretrained weights once lay does not matter."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        elif name != "weights":
            found[prefix + name] = list(value) if isinstance(value, tuple) else value
    return found


def _weights(policy: Amplify) -> dict[str, Tensor]:
    """Every entry of the published state, under its name: weights, and the masks and tables that go with them."""
    found = {}
    ours = "forward_dynamics.vision_encoder."
    for name, tensor in policy.state_dict().items():
        if not name.startswith("inverse_dynamics.vision_encoder."):
            found[name.replace(ours, "img_encoder.", 1)] = tensor.detach().float().cpu().clone()
    forward = policy.forward_dynamics
    if forward.config.mask_codes:  # the published code masks nothing
        found["forward_dynamics.unembed.bias"][forward.quantize.num_codes :] = NEVER
    for name, tensor in list(found.items()):
        if name.endswith("num_batches_tracked"):
            found[name] = tensor.long()
    for name, module in policy.named_modules():
        if isinstance(module, TransformerEncoder | TransformerDecoder):
            found |= {f"{name}.{key}": mask for key, mask in _masks(module, _condition_length(policy, module)).items()}
    dim = policy.motion_tokenizer.config.hidden_dim
    steps = torch.arange(0, dim, 2).float()
    found["motion_tokenizer.decoder.fixed_positional_emb.inv_freq"] = 1.0 / 10000 ** (steps / dim)
    return found


def _condition_length(policy: Amplify, module: nn.Module) -> int:
    """How many tokens the decoder ``module`` is declared to attend to."""
    tokenizer, inverse = policy.motion_tokenizer.config, policy.inverse_dynamics.config
    tokens = policy.forward_dynamics.vision_encoder.num_tokens
    if module is policy.motion_tokenizer.decoder.decoder:
        return tokenizer.num_codes
    if module is policy.motion_tokenizer.encoder.encoder:
        return tokens * len(tokenizer.views)
    kinds = (inverse.cond_on_text, inverse.cond_on_proprio)
    return tokens * inverse.cond_on_img + sum(kinds) + tokenizer.num_codes * inverse.cond_on_tracks


def _masks(module: TransformerEncoder | TransformerDecoder, condition: int) -> dict[str, Tensor]:
    """The attention masks of every layer, (1, 1, queries, keys) bool."""
    length = len(module.transformer.pos_emb.weight)
    own = torch.ones(length, length, dtype=torch.bool) if module.mask is None else module.mask.cpu()
    masks = {}
    for i in range(len(module.transformer.h)):
        if isinstance(module, TransformerEncoder):
            masks[f"transformer.h.{i}.attn.attn_mask"] = own[None, None].clone()
        else:
            masks[f"transformer.h.{i}.self_attn.attn_mask"] = own[None, None].clone()
            masks[f"transformer.h.{i}.cross_attn.attn_mask"] = torch.ones(1, 1, length, condition, dtype=torch.bool)
    return masks


def main(argv: list[str]) -> None:
    parser = cli.CommandParser("policy.export_official", __doc__)
    parser.add_argument("bundle", type=Path, help="a bundle of ours (.safetensors)")
    parser.add_argument("out", type=Path, help="file to write (.pt)")
    args = parser.parse_args(argv)
    published = published_bundle(build(checkpoint.read(args.bundle, "bundle")))
    with replacing(args.out) as temporary:
        torch.save(published, temporary)
    print(f"wrote {args.out}: {len(published['model'])} tensors, {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    cli.run(main)
