# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.7: Qwen3-VL (Cosmos-Reason2) and a flow-matching action head."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from gr00t_policy_core.errors import CheckpointError, SpecError
from gr00t_policy_core.models.common.backbone_files import find_backbone_files
from gr00t_policy_core.models.common.checkpoint import Checkpoint
from gr00t_policy_core.models.common.config import read_config, read_head_config
from gr00t_policy_core.models.common.files import read_json
from gr00t_policy_core.models.common.image_processing import (
    ImagePipeline,
    image_pipeline,
    lerobot_pipeline,
)
from gr00t_policy_core.models.common.json_fields import read_flag
from gr00t_policy_core.models.common.loading import load_embodiment, load_networks
from gr00t_policy_core.models.common.model import Inspection, Model
from gr00t_policy_core.models.common.prompts import ChatTokenizer
from gr00t_policy_core.models.gr00t_n1d7.backbone import (
    NEEDED_FIELDS,
    NEEDED_FILES,
    TEMPLATES,
    QwenBackbone,
    build_network,
    read_patch_config,
    restore_buffers,
)
from gr00t_policy_core.models.gr00t_n1d7.config import EMBODIMENT_IDS, IMAGE_EDGE, PUBLISHED
from gr00t_policy_core.models.gr00t_n1d7.random_weights import random_model
from gr00t_policy_core.models.gr00t_n1d7.vision import image_token_grid

__all__ = ["inspect", "load", "random_model"]

# The action head reads the features before the language model's last norm and output layer.
UNUSED = r"backbone\.model\.(model\.language_model\.norm\.weight|lm_head\.weight)"


def load(
    checkpoint: Checkpoint,
    tag: str,
    *,
    device: torch.device,
    dtype: torch.dtype,
    backbone_path: str | Path | None,
) -> Model:
    """Build the model of one embodiment; see `gr00t_policy_core.models.common.model.Loader`."""
    config = read_config(checkpoint.config, PUBLISHED)
    history = config["state_history_length"]
    head_config = read_head_config(config, state_steps_per_token=history)
    embodiment = load_embodiment(checkpoint, tag, EMBODIMENT_IDS, head_config)
    steps = len(embodiment.modalities["state"].delta_indices)
    if steps != history:
        raise SpecError(
            "bad checkpoint", [f"{tag} has {steps} state steps, state_history_length is {history}"]
        )
    folder = find_backbone_files(config["model_name"], backbone_path, NEEDED_FILES, on_hub=True)
    tokenizer = ChatTokenizer(folder, TEMPLATES)
    pipeline = _pipeline(checkpoint)
    formalize_language = read_flag(checkpoint.processor, "formalize_language", True)
    patches = read_patch_config(folder)
    backbone_config = read_json(folder / "config.json", *NEEDED_FIELDS)
    network = build_network(backbone_config, config["select_layer"])

    head = load_networks(
        checkpoint,
        network,
        "backbone.model.model.",
        head_config,
        embodiment,
        UNUSED,
        device=device,
        dtype=dtype,
    )
    restore_buffers(network)
    backbone = QwenBackbone(network, tokenizer, pipeline, patches, formalize_language)
    return Model(embodiment, backbone, head)


def inspect(checkpoint: Checkpoint, backbone_path: str | Path | None) -> Inspection:
    """Read the files except for the weights; see `gr00t_policy_core.models.common.model`."""
    config = read_config(checkpoint.config, PUBLISHED)
    name, problem, image_tokens = config["model_name"], None, None
    try:
        folder = find_backbone_files(name, backbone_path, NEEDED_FILES, on_hub=True)
        patches = read_patch_config(folder)
        image_tokens = partial(image_token_grid, patches=patches)
    except CheckpointError as error:
        problem = str(error)
    return Inspection(
        head=read_head_config(config, state_steps_per_token=config["state_history_length"]),
        embodiment_ids=EMBODIMENT_IDS,
        pipeline=_pipeline(checkpoint),
        backbone_name=name,
        backbone_problem=problem,
        image_tokens=image_tokens,
        unused=UNUSED,
    )


def _pipeline(checkpoint: Checkpoint) -> ImagePipeline:
    if checkpoint.lerobot is not None:
        return lerobot_pipeline(checkpoint.lerobot.images)
    return image_pipeline(checkpoint.processor, IMAGE_EDGE)
