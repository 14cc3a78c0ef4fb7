# SPDX-License-Identifier: Apache-2.0
"""Fields of a checkpoint that would change its answers, and that nothing here reads."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.checkpoint import Checkpoint
from gr00t_policy_core.models.common.json_fields import PROCESSOR

CONFIG = "config.json"

# Switches that are known and do something that no model here does, where they are true.
UNSUPPORTED = {
    "use_tactile": "no model here reads tactile sensors",
    "use_mean_std": "Isaac-GR00T of July 2026 ignores it: if that trained the checkpoint, make it "
    "false; mean_std_embedding_keys of a modality says which keys are normalised so",
}

# processor_kwargs of both lines, as Isaac-GR00T of July 2026 has them: read here, or of training.
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
    """Refuse switches that would be ignored, and log the other fields that are.

    Raises:
        SpecError: Naming each switch that is on and that nothing here heeds, and its file.
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
        f"{PROCESSOR}: {name} is true, and nothing here knows what that means"
        for name, value in unknown.items()
        if value is True
    ]
    if problems:
        raise SpecError("the checkpoint asks for what is not supported", problems)
    for name, value in unknown.items():
        if value not in (None, False):
            logger.warning(
                "%s: %s is ignored, nothing here knows it: %.60r", PROCESSOR, name, value
            )


def _unsupported(file: str, fields: Mapping[str, Any]) -> Iterator[str]:
    for name, why in UNSUPPORTED.items():
        value = fields.get(name)
        if value not in (None, False):
            yield f"{file}: {name} is {value!r}: {why}"
