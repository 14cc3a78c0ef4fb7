# SPDX-License-Identifier: Apache-2.0
"""Rejects checkpoints with fields that change the actions and are not implemented here."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.checkpoint import Checkpoint
from gr00t_policy_core.models.common.json_fields import PROCESSOR

CONFIG = "config.json"

# Boolean fields that are known but not implemented; true is rejected.
UNSUPPORTED = {
    "use_tactile": "tactile sensors are not supported",
    "use_mean_std": "Isaac-GR00T of July 2026 ignores it: set it to false if that release trained "
    "the checkpoint. mean_std_embedding_keys of a modality selects the keys that are normalized so",
}

# processor_kwargs of both lines in Isaac-GR00T of July 2026 that are read here or in training only.
KNOWN = {
    "apply_sincos_state_encoding",
    "clip_outliers",
    "color_jitter_params",
    "crop_fraction",
    "embodiment_id_mapping",
    "exclude_state",
    "extra_augmentation_config",
    "formalize_language",
    "image_crop_size",
    "image_target_size",
    "letter_box_transform",
    "max_action_dim",
    "max_action_horizon",
    "max_state_dim",
    "modality_configs",
    "model_name",
    "model_type",
    "random_rotation_angle",
    "shortest_image_edge",
    "state_dropout_prob",
    "statistics",
    "transformers_loading_kwargs",
    "use_albumentations",
    "use_percentiles",
    "use_relative_action",
}

logger = logging.getLogger(__name__)


def check_known_fields(checkpoint: Checkpoint) -> None:
    """Reject true fields that are not implemented, and log other unknown fields.

    Raises:
        SpecError: A boolean field is true and not implemented; the message names each, and its
            file.
    """
    problems = [
        *_unsupported(CONFIG, checkpoint.config),
        *_unsupported(PROCESSOR, checkpoint.processor),
    ]
    unknown = {
        name: value
        for name, value in checkpoint.processor.items()
        if name not in KNOWN and name not in UNSUPPORTED
    }
    problems += [
        f"{PROCESSOR}: {name} is true, which is unknown here"
        for name, value in unknown.items()
        if value is True
    ]
    if problems:
        raise SpecError("the checkpoint has unsupported fields", problems)
    for name, value in unknown.items():
        if value not in (None, False):
            logger.warning("%s: ignoring the unknown field %s: %.60r", PROCESSOR, name, value)


def _unsupported(file: str, fields: Mapping[str, Any]) -> Iterator[str]:
    for name, why in UNSUPPORTED.items():
        value = fields.get(name)
        if value not in (None, False):
            yield f"{file}: {name} is {value!r}: {why}"
