# SPDX-License-Identifier: Apache-2.0
"""The demo sets a scene while nothing commands the arm, and counts over activations."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from lifecycle_msgs.msg import Transition

from gr00t_ros.msg import ControlStatus
from gr00t_ros.sim import demo_director
from gr00t_ros.sim.demo_recorder import DemoRecorder


@pytest.mark.parametrize(
    ("state", "calls"),
    [
        (ControlStatus.STATE_STOPPED, ["the arm is home"]),
        (
            ControlStatus.STATE_ERROR,
            [
                Transition.TRANSITION_DEACTIVATE,
                "the arm is home",
                Transition.TRANSITION_ACTIVATE,
                "control_node/start",
            ],
        ),
        (
            ControlStatus.STATE_HOLDING,
            [
                Transition.TRANSITION_DEACTIVATE,
                "the arm is home",
                Transition.TRANSITION_ACTIVATE,
            ],
        ),
    ],
)
def test_no_node_commands_the_arm_while_it_is_put_home(
    state: int, calls: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr(
        demo_director, "change_state", lambda _, name, transition: made.append(transition)
    )
    monkeypatch.setattr(demo_director, "call_trigger", lambda _, service: made.append(service))
    recorder = SimpleNamespace(control_status=ControlStatus(state=state))
    with demo_director.control_node_inactive(recorder):
        made.append("the arm is home")
    assert made == calls


def test_missed_ticks_are_counted_over_all_activations() -> None:
    recorder = SimpleNamespace(control_status=None, ticks=0, ticks_missed=0)
    for commands, missed in ((0, 7), (10, 8), (110, 12), (160, 3), (260, 4)):
        status = ControlStatus(commands=commands, ticks_missed=missed)
        DemoRecorder._on_control(recorder, status)
    assert (recorder.ticks, recorder.ticks_missed) == (250, (12 - 8) + 3 + (4 - 3))
