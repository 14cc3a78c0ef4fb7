# SPDX-License-Identifier: Apache-2.0
"""Contracts of a small arm, and the layouts of their commands."""

from __future__ import annotations

from typing import Any

from policies_for_tests import parameters

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_ros.contract.contract import Contract, parse_contract

LAYOUT = ActionLayout({"arm": 2, "gripper": 1})


POSE_LAYOUT = ActionLayout({"arm": 7, "gripper": 1}, poses=["arm"])


POSE = {
    "state__arm__type": "pose_stamped",
    "state__arm__topic": "tool",
    "state__arm__joints": None,
    "state__arm__representation": "xyz_quat",
    "action__arm__topic": "goal",
    "action__arm__joints": None,
    "action__arm__type": "pose_stamped",
    "action__arm__representation": "xyz_quat",
    "action__arm__frame_id": "base",
}


UNMEASURED_POSE = {
    **POSE,
    "state__arm__type": "float64_multi_array",
    "state__arm__representation": None,
    "action__arm__unmeasured": True,
}


TWIST = {
    "action__arm__type": "twist_stamped",
    "action__arm__frame_id": "base",
    "action__arm__topic": "twist",
    "action__arm__joints": None,
}


def contract_of(**changes: Any) -> Contract:
    return parse_contract(parameters(**changes))
