# SPDX-License-Identifier: Apache-2.0
"""The steps of loading a checkpoint that are the same in every line; the backbone is each its own.

A line's `load` reads the robot, then all that its backbone is made of, and then the weights: so
that whatever is wrong is found before the first weight is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.checkpoint import Checkpoint
from gr00t_policy_core.models.common.config import HeadConfig
from gr00t_policy_core.models.common.embodiment import Embodiment, read_embodiment
from gr00t_policy_core.models.common.head import ActionHead
from gr00t_policy_core.models.common.json_fields import is_integer
from gr00t_policy_core.models.common.known_fields import check_known_fields
from gr00t_policy_core.models.common.weights import (
    Part,
    check_weights,
    head_naming,
    load_weights,
    prefixed,
)


def load_embodiment(
    checkpoint: Checkpoint, tag: str, embodiment_ids: Mapping[str, int], head: HeadConfig
) -> Embodiment:
    """The robot `tag` of a checkpoint.

    Args:
        checkpoint: The files.
        tag: Of the robot.
        embodiment_ids: The line's numbering of robots, for what embodiment_id.json leaves out.
        head: That is to drive it.

    Raises:
        SpecError: The tag is unknown, statistics are missing, the robot is too large for `head`,
            or the checkpoint asks for what nothing here does.
        CheckpointError: The modality configs are no such thing.
    """
    check_known_fields(checkpoint)
    embodiment = read_embodiment(checkpoint, tag, embodiment_ids)
    _check_fit(embodiment, head, checkpoint.processor)
    return embodiment


def load_networks(
    checkpoint: Checkpoint,
    backbone: nn.Module,
    prefix: str,
    head_config: HeadConfig,
    embodiment: Embodiment,
    unused: str,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> ActionHead:
    """Build the action head, and read its weights and the backbone's.

    Args:
        checkpoint: Whose weights they are.
        backbone: Built without weights.
        prefix: Of its parameters' names in the checkpoint.
        head_config: Of the head.
        embodiment: Whose weights the head gets.
        unused: Regular expression of the tensors that neither needs.
        device: Where the weights are put.
        dtype: Of the weights.

    Raises:
        CheckpointError: Naming the tensors that are missing, of another shape, or unknown.
    """
    with torch.device("meta"):
        head = ActionHead(head_config)
    parts = (Part(backbone, prefixed(prefix)), Part(head, head_naming(embodiment.index)))
    check_weights(checkpoint, parts, unused)
    load_weights(checkpoint, parts, device, dtype)
    return head


def _check_fit(embodiment: Embodiment, head: HeadConfig, processor: Mapping[str, Any]) -> None:
    """Raise `SpecError` naming everything of the robot that is too large for the checkpoint."""
    states, actions = embodiment.state_width, embodiment.action_dim
    horizon = embodiment.horizon
    limits = [
        ("state values", states, "config.json's max_state_dim", head.max_state_dim),
        ("action values", actions, "config.json's max_action_dim", head.max_action_dim),
        ("an action horizon of", horizon, "config.json's action_horizon", head.action_horizon),
    ]
    problems = []
    for what, has, field in (
        ("state values", states, "max_state_dim"),
        ("action values", actions, "max_action_dim"),
        ("an action horizon of", horizon, "max_action_horizon"),
    ):
        limit = processor.get(field)
        name = f"processor_config.json's {field}"
        if limit is None:
            continue
        if is_integer(limit):
            limits.append((what, has, name, int(limit)))
        else:
            problems.append(f"{name} must be a positive integer, got {limit!r}")
    problems += [
        f"{embodiment.tag} has {what} {has}, {field} is {limit}"
        for what, has, field, limit in limits
        if has > limit
    ]
    language = embodiment.modalities["language"]
    if len(language.delta_indices) != 1:
        problems.append(f"language must have one time step, got {language.delta_indices}")
    if problems:
        raise SpecError("config.json and processor_config.json do not fit", problems)
