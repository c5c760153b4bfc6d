"""Observations: every form that is understood means the same, and what is wrong is named."""

import numpy as np
import pytest

from policy.remote.names import Names
from robot_bridge.serving.observation import BadObservation, InputSpec, read_observation, read_queries
from tests.robot_bridge.policies import ConstantPolicy, observation

SPEC = InputSpec(ConstantPolicy.views, ConstantPolicy.image_size, 4, tracks=400)


def test_of_several_time_steps_the_last_is_seen():
    seen = observation(1.0)
    seen["state"]["proprio"] = np.stack([np.zeros((1, 9)), np.ones((1, 9))], axis=1)
    seen["video"]["agentview"] = np.stack([np.full((1, 32, 32, 3), shade, np.uint8) for shade in (0, 9)], axis=1)
    seen["language"] = {"task": [["wait", "go"]]}
    inputs = read_observation(seen, SPEC)
    assert (inputs.proprio == 1).all()
    assert (inputs.cameras[0] == 9).all()
    assert inputs.text == ["go"]


@pytest.mark.parametrize(
    "language",
    [{"task": [["go"]]}, {"task": ["go"]}, {"task": (("go",),)}, {"annotation.human.coarse_action": [["go"]]}],
)
def test_an_instruction_may_be_nested_and_have_any_name_when_it_is_the_only_one(language: dict):
    assert read_observation(observation() | {"language": language}, SPEC).text == ["go"]


def test_of_several_instructions_one_must_be_named():
    language = {"annotation.human.action": [["go"]], "annotation.human.validity": [["valid"]]}
    with pytest.raises(BadObservation, match="--rename task=NAME"):
        read_observation(observation() | {"language": language}, SPEC)
    spec = InputSpec(SPEC.views, SPEC.image_size, 4, Names(task="annotation.human.action"))
    assert read_observation(observation() | {"language": language}, spec).text == ["go"]


@pytest.mark.parametrize("text", ["", "  \n", "x" * 1001])
def test_an_instruction_must_say_something(text: str):
    with pytest.raises(BadObservation, match="an instruction must say what to do"):
        read_observation(observation() | {"language": {"task": [[text]]}}, SPEC)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38, -1e4])
def test_a_state_that_no_robot_has_is_refused(value: float):
    with pytest.raises(BadObservation, match="no joint positions"):
        read_observation(observation(value), SPEC)


def test_parts_of_a_state_that_are_missing_or_too_wide_are_named():
    spec = InputSpec(SPEC.views, SPEC.image_size, 4, Names(state=(("arm", None), ("gripper", None))))
    seen = observation()
    seen["state"] = {"arm": np.zeros((1, 1, 7))}
    with pytest.raises(BadObservation, match=r"state\.gripper must be an array"):
        read_observation(seen, spec)
    seen["state"]["gripper"] = np.zeros((1, 1, 1))
    with pytest.raises(BadObservation, match=r"state\.arm\+gripper must be \(1, t, 9\): 7 joints and 2 fingers, not 8"):
        read_observation(seen, spec)


def test_queries_must_be_as_many_as_the_policy_follows():
    with pytest.raises(BadObservation, match="the policy follows 400 points"):
        read_queries(np.zeros((1, 2, 1, 10, 2), np.float32), 1, SPEC)
    with pytest.raises(BadObservation, match="NaN or far outside"):
        read_queries(np.full((1, 2, 1, 400, 2), 1e38), 1, SPEC)
    assert read_queries(np.zeros((1, 2, 1, 400, 2)), 1, SPEC).dtype == np.float32


def test_more_rows_than_a_batch_are_refused():
    with pytest.raises(BadObservation, match="at most 4"):
        read_observation(observation(rows=5), SPEC)
