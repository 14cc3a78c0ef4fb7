# SPDX-License-Identifier: Apache-2.0
"""The steps of loading a checkpoint that all model lines share.

A line's `load` reads the embodiment, then the files of its backbone, and then the weights, so that
it finds every error in the files before it reads the first weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.checkpoint import Checkpoint
from gr00t_policy_core.models.common.config import HeadConfig
from gr00t_policy_core.models.common.embodiment import Embodiment
from gr00t_policy_core.models.common.embodiment_reader import read_embodiment
from gr00t_policy_core.models.common.head import ActionHead
from gr00t_policy_core.models.common.json_fields import is_integer
from gr00t_policy_core.models.common.known_fields import check_known_fields
from gr00t_policy_core.models.common.weights import (
    NamedModule,
    check_weights,
    head_naming,
    load_weights,
    prefixed_names,
)


def load_embodiment(
    checkpoint: Checkpoint, tag: str, embodiment_ids: Mapping[str, int], head: HeadConfig
) -> Embodiment:
    """Read an embodiment of a checkpoint, and check that the action head fits it.

    Args:
        checkpoint: The content of the checkpoint's files.
        tag: The embodiment tag, as the checkpoint spells it.
        embodiment_ids: The model line's index of each tag, for tags that embodiment_id.json leaves
            out.
        head: The shape of the action head.

    Raises:
        SpecError: The tag is unknown, statistics are missing, the embodiment has more values or
            steps than `head`, or the checkpoint has unsupported fields.
        CheckpointError: The modality configs are invalid.
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
        checkpoint: The content of the checkpoint's files.
        backbone: The backbone's modules, built without weights (on torch's meta device).
        prefix: The prefix of the backbone's parameters in the checkpoint.
        head_config: The shape of the action head.
        embodiment: The embodiment whose per-embodiment weights the head gets.
        unused: A regular expression of the tensors that neither module reads.
        device: The device that receives the weights.
        dtype: The dtype that the weights are converted to.

    Raises:
        CheckpointError: Tensors are missing, have another shape, or are unknown; the message names
            them.
    """
    with torch.device("meta"):
        head = ActionHead(head_config)
    parts = (
        NamedModule(backbone, prefixed_names(prefix)),
        NamedModule(head, head_naming(embodiment.index)),
    )
    check_weights(checkpoint, parts, unused)
    load_weights(checkpoint, parts, device, dtype)
    return head


def _check_fit(embodiment: Embodiment, head: HeadConfig, processor: Mapping[str, Any]) -> None:
    """Raise `SpecError` for an embodiment with more values or steps than the checkpoint allows."""
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
        raise SpecError("config.json and processor_config.json do not match", problems)
