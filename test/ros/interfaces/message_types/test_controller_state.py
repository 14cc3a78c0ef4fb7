# SPDX-License-Identifier: Apache-2.0
"""Joint positions from the state topic of a controller."""

from __future__ import annotations

import pytest

from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.interfaces.message_types.controller_state import ControllerState

msg = pytest.importorskip("control_msgs.msg")


def test_positions_are_read_by_name() -> None:
    message = msg.JointTrajectoryControllerState(joint_names=["a", "finger", "b"])
    message.feedback.positions = [1.0, 0.02, 3.0]
    state = ControllerState({"joints": ["b", "finger"]})
    assert state.read(message).tolist() == [3.0, 0.02]
    assert state.joint_positions(message) == (("b", "finger"), [3.0, 0.02])
    with pytest.raises(ConversionError, match="c"):
        ControllerState({"joints": ["c"]}).read(message)
