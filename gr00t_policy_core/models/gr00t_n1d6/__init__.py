# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.6: Eagle (SigLIP2 and Qwen3) and a flow-matching action head."""

from __future__ import annotations

from pathlib import Path

import torch

from gr00t_policy_core.errors import CheckpointError
from gr00t_policy_core.models.common.backbone_files import find_backbone_files
from gr00t_policy_core.models.common.checkpoint import Checkpoint
from gr00t_policy_core.models.common.config import read_config, read_head_config
from gr00t_policy_core.models.common.files import read_json
from gr00t_policy_core.models.common.image_processing import image_pipeline
from gr00t_policy_core.models.common.json_fields import read_flag
from gr00t_policy_core.models.common.loading import load_embodiment, load_networks
from gr00t_policy_core.models.common.model import Inspection, Model
from gr00t_policy_core.models.common.prompts import ChatTokenizer
from gr00t_policy_core.models.gr00t_n1d6.backbone import (
    NEEDED_FIELDS,
    NEEDED_FILES,
    TEMPLATES,
    EagleBackbone,
    EagleNetwork,
    check_backbone,
)
from gr00t_policy_core.models.gr00t_n1d6.config import EMBODIMENT_IDS, IMAGE_EDGE, PUBLISHED
from gr00t_policy_core.models.gr00t_n1d6.random_weights import random_model
from gr00t_policy_core.models.gr00t_n1d6.vision import image_token_grid

__all__ = ["inspect", "load", "random_model"]

# Training writes these tensors, and inference does not read them, in the reference neither: the
# output layer, the vision tower's pooling, and the replacement of a dropped-out state.
UNUSED = (
    r"backbone\.model\.language_model\.lm_head\.weight"
    r"|backbone\.model\.vision_model\.vision_model\.head\..*"
    r"|action_head\.mask_token"
)


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
    head_config = read_head_config(config, state_steps_per_token=1)
    embodiment = load_embodiment(checkpoint, tag, EMBODIMENT_IDS, head_config)
    folder = find_backbone_files(config["model_name"], backbone_path, NEEDED_FILES, on_hub=False)
    backbone_config = read_json(folder / "config.json", *NEEDED_FIELDS)
    check_backbone(backbone_config)
    tokenizer = ChatTokenizer(folder, TEMPLATES)
    pipeline = image_pipeline(checkpoint.processor, IMAGE_EDGE)
    formalize_language = read_flag(checkpoint.processor, "formalize_language", True)
    with torch.device("meta"):
        network = EagleNetwork(backbone_config, config["select_layer"])

    head = load_networks(
        checkpoint,
        network,
        "backbone.model.",
        head_config,
        embodiment,
        UNUSED,
        device=device,
        dtype=dtype,
    )
    network.restore_buffers()
    backbone = EagleBackbone(network, backbone_config, tokenizer, pipeline, formalize_language)
    return Model(embodiment, backbone, head)


def inspect(checkpoint: Checkpoint, backbone_path: str | Path | None) -> Inspection:
    """Read the files except for the weights; see `gr00t_policy_core.models.common.model`."""
    config = read_config(checkpoint.config, PUBLISHED)
    name, problem = config["model_name"], None
    try:
        find_backbone_files(name, backbone_path, NEEDED_FILES, on_hub=False)
    except CheckpointError as error:
        problem = str(error)
    return Inspection(
        head=read_head_config(config, state_steps_per_token=1),
        embodiment_ids=EMBODIMENT_IDS,
        pipeline=image_pipeline(checkpoint.processor, IMAGE_EDGE),
        backbone_name=name,
        backbone_problem=problem,
        image_tokens=image_token_grid,
        unused=UNUSED,
    )
