"""Instructions that the policy never learned are told, once, with the nearest one."""

import logging

from robot_bridge.serving.instructions import REMEMBERED, Instructions

KNOWN = ["pick up the milk and place it in the basket", "turn on the stove and put the moka pot on it"]


def test_an_unknown_instruction_is_warned_of_once_with_the_nearest(caplog):
    instructions = Instructions(KNOWN)
    with caplog.at_level(logging.WARNING):
        warnings = {instructions.warning("put the pot on the stove") for _ in range(3)}
    assert warnings == {
        f"the policy never learned 'put the pot on the stove'; the nearest that it knows is '{KNOWN[1]}'"
    }
    assert len(caplog.records) == 1


def test_case_and_spaces_make_no_difference():
    assert Instructions(KNOWN).warning(" Pick up the milk_and place it   in the basket") is None


def test_a_policy_that_lists_nothing_is_not_doubted():
    assert Instructions(None).warning("dance") is None
    assert Instructions([]).warning("dance") is None


def test_memory_is_bounded():
    instructions = Instructions(KNOWN)
    for number in range(3 * REMEMBERED):
        assert KNOWN[0] in (instructions.warning(f"pick up the milk {number}") or "")
    assert len(instructions._warnings) <= REMEMBERED
