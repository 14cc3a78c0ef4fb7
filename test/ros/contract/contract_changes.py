# SPDX-License-Identifier: Apache-2.0
"""Changes of `parameters()` that several tests of contracts make, and what is wrong with others."""

from __future__ import annotations

from typing import Any

import pytest
from policies_for_tests import parameters

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import parse_contract


def problems_of(**changes: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_contract(parameters(**changes))
    return caught.value.problems


def pose_action(**changes: Any) -> dict[str, Any]:
    return {
        "action__arm__type": "pose_stamped",
        "action__arm__topic": "pose",
        "action__arm__joints": None,
        "action__arm__representation": "xyz_rot6d",
        "action__arm__frame_id": "base",
        "action__arm__unmeasured": True,
        **changes,
    }


def array_action(**changes: Any) -> dict[str, Any]:
    return {
        "action__arm__type": "float64_multi_array",
        "action__arm__topic": "array",
        **changes,
    }
