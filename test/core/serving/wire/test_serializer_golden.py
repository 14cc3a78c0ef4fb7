# SPDX-License-Identifier: Apache-2.0
"""Bytes that Isaac-GR00T wrote: read, and written again bit for bit."""

import pytest
from array_checks import assert_same_array

from gr00t_policy_core import (
    ActionConfig,
    Dialect,
    ModalityConfig,
    MsgSerializer,
)

DIALECTS = ["n1d6", "n1d7"]


MESSAGES = [
    f"{name}_{side}"
    for name in ("ping", "kill", "get_action", "reset", "get_modality_config")
    for side in ("request", "reply")
] + ["error_reply"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", MESSAGES)
def test_golden_messages_are_written_again_bit_for_bit(golden, dialect, name):
    message = golden(dialect, name)
    assert MsgSerializer.to_bytes(MsgSerializer.from_bytes(message), dialect=dialect) == message


@pytest.mark.parametrize("dialect", DIALECTS)
def test_golden_observation_decodes_to_its_arrays(golden, golden_arrays, dialect):
    decoded = MsgSerializer.decode(golden(dialect, "get_action_request"))
    assert decoded.dialect is Dialect(dialect)
    data = decoded.value["data"]
    assert data["options"] is None
    observation = data["observation"]
    for modality in ("video", "state"):
        for key, array in observation[modality].items():
            assert_same_array(array, golden_arrays[f"{modality}/{key}"])
    assert observation["language"] == {"annotation.human.task_description": [["pick up the apple"]]}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_golden_action_decodes_to_its_arrays(golden, golden_arrays, dialect):
    action, info = MsgSerializer.from_bytes(golden(dialect, "get_action_reply"))
    assert info == {}
    assert set(action) == {"single_arm", "gripper"}
    for key, array in action.items():
        assert_same_array(array, golden_arrays[f"action/{key}"])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_golden_modality_config_decodes(golden, dialect):
    decoded = MsgSerializer.decode(golden(dialect, "get_modality_config_reply"))
    assert decoded.dialect is Dialect(dialect)
    assert decoded.value["video"] == ModalityConfig([0], ["front", "wrist"])
    assert decoded.value["action"] == ModalityConfig(
        list(range(16)),
        ["single_arm", "gripper"],
        action_configs=[
            ActionConfig("RELATIVE", "NON_EEF", "DEFAULT"),
            ActionConfig("ABSOLUTE", "NON_EEF", "DEFAULT"),
        ],
    )


def test_a_message_without_arrays_shows_no_dialect(golden):
    assert MsgSerializer.decode(golden("n1d6", "ping_reply")).dialect is None
