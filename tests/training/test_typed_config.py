"""Configuration is typed, and nothing that nobody reads is accepted."""

import json

import pytest

from common.errors import UserError
from tokenizer.tracks.model import TokenizerConfig
from training.typed_config import from_mapping, to_mapping


def test_a_config_survives_being_stored_as_a_mapping() -> None:
    config = TokenizerConfig(num_tracks=16, causal_encoder="diag")
    assert from_mapping(TokenizerConfig, config.to_dict(), "here") == config


def test_a_mapping_is_what_json_gives_back() -> None:
    mapping = to_mapping(TokenizerConfig())
    assert mapping == json.loads(json.dumps(mapping))
    assert mapping["img_shape"] == [128, 128]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_trakcs": 4}, "unknown setting 'num_trakcs'"),
        ({"num_tracks": "many"}, "num_tracks must be int, not 'many'"),
        ({"img_shape": [128]}, "img_shape must have 2 entries"),
        ({"cond_cls": True}, "needs cond_on_img=true"),
        ({"causal_encoder": "sideways"}, "use true, false or diag"),
        ({"views": ["top"]}, "loss_weights has no entry for the view 'top'"),
    ],
)
def test_a_wrong_setting_is_named(values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_mapping(TokenizerConfig, values, "here")
