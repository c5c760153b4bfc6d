"""Pretrained encoders of the smallest size, with random weights, as files and folders that the real ones have."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from tokenizer.resnet import ResNet

WORDS = ("<pad>", "</s>", "<unk>", "open", "close", "the", "drawer", "number", "0", "1")


def write_resnet(folder: Path, name: str = "resnet18") -> Path:
    """A file of weights of a resnet."""
    torch.manual_seed(0)
    path = folder / f"{name}.safetensors"
    save_file(ResNet(32, name).state_dict(), path)  # type: ignore[arg-type]
    return path


def write_vision_transformer(folder: Path, kind: str) -> Path:
    """A folder of a vit or dinov2, with patches of 16 pixels."""
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 48, "patch_size": 16}
    if kind == "vit":
        config = transformers.ViTConfig(**sizes, intermediate_size=32)
        model = transformers.ViTForImageClassification(config)  # more than what is wanted of it, as on the hub
    else:
        model = transformers.Dinov2Model(transformers.Dinov2Config(**sizes))
    model.save_pretrained(folder / kind)
    return folder / kind


def write_t5(folder: Path, width: int = 512) -> Path:
    """A folder of a T5 that knows the ``WORDS``."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=len(WORDS), d_model=width, d_kv=4, d_ff=16, num_layers=1, num_heads=2, num_decoder_layers=1
    )
    model = transformers.T5ForConditionalGeneration(config)
    model.save_pretrained(folder / "t5")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(folder / "t5" / "tokenizer.json"))
    return folder / "t5"
