# SPDX-License-Identifier: Apache-2.0
"""Whether a robot's states and actions fit into a head: checked before weights are read."""

from __future__ import annotations

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.config import HeadConfig
from gr00t_policy_core.models.common.embodiment import Embodiment


def check_fit(embodiment: Embodiment, head: HeadConfig) -> None:
    """Raise `SpecError` naming everything of the robot that is too large for the head."""
    problems = [
        f"{embodiment.tag} has {what} {has}, config.json's {field} is {limit}"
        for what, has, field, limit in (
            ("state values", embodiment.state_width, "max_state_dim", head.max_state_dim),
            ("action values", embodiment.action_dim, "max_action_dim", head.max_action_dim),
            ("an action horizon of", embodiment.horizon, "action_horizon", head.action_horizon),
        )
        if has > limit
    ]
    language = embodiment.modalities["language"]
    if len(language.delta_indices) != 1:
        problems.append(f"language must have one time step, got {language.delta_indices}")
    if problems:
        raise SpecError("config.json and processor_config.json do not fit", problems)
