# SPDX-License-Identifier: Apache-2.0
"""The parameters of the policy node: described, checked, and fixed once they are read."""

from __future__ import annotations

from typing import Any

import pytest
from nodes_for_tests import CLEANUP, CONFIGURE, MakeNode, Operator
from policies_for_tests import EchoPolicy

from gr00t_policy_core import ModalityConfig


def test_every_parameter_is_described_and_every_number_has_a_range(
    make_node: MakeNode, operator: Operator
) -> None:
    make_node()
    ours = ("policy.", "video.", "state.", "action.", "instruction", "action_rate_hz", "max_")
    names = [n for n in operator.parameter_names() if n.startswith(ours)]
    assert {"video.front.width", "state.arm.max_age_s", "action.gripper.scale"} <= set(names)
    assert len(names) > 40
    for described in operator.describe(names):
        assert described.description, described.name
        if described.name.endswith(("_s", "_hz", "width", "height", "port")):
            assert described.integer_range or described.floating_point_range, described.name
    (jerk, timeout) = operator.describe(["action.arm.max_jerk", "policy.timeout_s"])
    assert jerk.additional_constraints == "only with joints"
    assert timeout.additional_constraints == "only with policy.backend: server"


def test_a_value_outside_its_range_is_refused_when_it_is_set(
    make_node: MakeNode, operator: Operator
) -> None:
    make_node()
    assert operator.set_parameters(policy__port=70000) == [False]
    assert operator.set_parameters(control_rate_hz=-1.0) == [False]


def test_configure_fails_with_the_whole_list_and_works_once_all_is_right(
    make_node: MakeNode, operator: Operator, capfd: pytest.CaptureFixture[str]
) -> None:
    make_node(
        policy__port=99999,
        video__front__topic=None,
        video__front__width=2,
        video__front__hieght=2,
        action_rate_hz=None,
        state__gripper__joints=["finger", "right"],
    )
    assert operator.change_state(CONFIGURE) == [False]
    assert operator.state() == "unconfigured"
    told = capfd.readouterr().err
    for problem in (
        "policy.port: must be 1 to 65535, got 99999",
        "video.front: no topic given",
        "video.front.hieght: no such parameter, did you mean video.front.height?",
        "action_rate_hz: no action_rate_hz given",
    ):
        assert f"- {problem}\n" in told

    assert all(
        operator.set_parameters(policy__port=5555, action_rate_hz=20.0, video__front__height=2)
    )
    assert operator.set_parameters(video__front__topic="front/image_raw") == [True]
    assert operator.delete_parameter("video.front.hieght")
    assert operator.change_state(CONFIGURE) == [False]
    told = capfd.readouterr().err
    assert "the parameters do not match the policy" in told
    assert "- state.gripper has 2 values, the policy expects 1\n" in told

    assert operator.set_parameters(state__gripper__joints=["finger"]) == [True]
    assert operator.change_state(CONFIGURE) == [True]
    assert operator.state() == "inactive"


def test_a_parameter_that_would_change_nothing_any_more_is_refused(
    make_node: MakeNode, operator: Operator
) -> None:
    make_node()
    assert operator.change_state(CONFIGURE) == [True]
    assert operator.set_parameters(max_age_s=0.1) == [False]
    assert operator.set_parameters(use_sim_time=False) == [True]
    assert operator.change_state(CLEANUP) == [True]
    assert operator.set_parameters(max_age_s=0.1) == [True]


def test_a_key_that_was_forgotten_can_be_set_later(
    make_node: MakeNode, operator: Operator, policy: EchoPolicy, capfd: pytest.CaptureFixture[str]
) -> None:
    policy.get_modality_config()["video"] = ModalityConfig([0], ["front", "wrist"])
    make_node()
    assert operator.change_state(CONFIGURE) == [False]
    assert "- video.wrist: no topic given\n" in capfd.readouterr().err
    assert operator.set_parameters(video__wrist__topic="wrist/image_raw") == [True]
    assert operator.change_state(CONFIGURE) == [True]
    (described,) = operator.describe(["video.wrist.max_age_s"])
    assert described.description.startswith("s, ")


def test_an_error_that_nobody_thought_of_is_told_and_the_node_stays_usable(
    make_node: MakeNode, operator: Operator, policy: EchoPolicy, capfd: pytest.CaptureFixture[str]
) -> None:
    node = make_node()

    def fail(settings: Any) -> EchoPolicy:
        raise OSError("no such checkpoint: /models/none")

    node._policy_factory = fail
    assert operator.change_state(CONFIGURE) == [False]
    assert operator.state() == "unconfigured"
    assert "no such checkpoint: /models/none" in capfd.readouterr().err
    node._policy_factory = lambda settings: policy
    assert operator.change_state(CONFIGURE) == [True]
