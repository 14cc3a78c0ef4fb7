# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.6: Eagle (SigLIP2 and Qwen3) and a flow-matching action head."""

from __future__ import annotations

from pathlib import Path

import torch

from gr00t_policy_core.models.common.backbone_files import find_backbone_files
from gr00t_policy_core.models.common.checkpoint import Checkpoint, read_json
from gr00t_policy_core.models.common.config import read_head_config
from gr00t_policy_core.models.common.embodiment import read_embodiment
from gr00t_policy_core.models.common.fit import check_fit
from gr00t_policy_core.models.common.head import ActionHead
from gr00t_policy_core.models.common.images import image_pipeline
from gr00t_policy_core.models.common.model import Model
from gr00t_policy_core.models.common.prompts import ChatTokenizer
from gr00t_policy_core.models.common.weights import (
    Part,
    check_weights,
    head_naming,
    load_weights,
    prefixed,
)
from gr00t_policy_core.models.gr00t_n1d6.backbone import (
    NEEDED_FILES,
    TEMPLATES,
    EagleBackbone,
    EagleNetwork,
    check_backbone,
)
from gr00t_policy_core.models.gr00t_n1d6.config import EMBODIMENT_IDS, PUBLISHED
from gr00t_policy_core.models.gr00t_n1d6.random_weights import random_model

__all__ = ["load", "random_model"]

# Written by training but not used by the reference's inference either: the output layer, the vision
# tower's pooling, and what replaced a dropped-out state.
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
    """Build the model of one robot; see `gr00t_policy_core.models.common.model.Loader`."""
    config = {**PUBLISHED, **checkpoint.config}
    head_config = read_head_config(checkpoint.config, PUBLISHED, state_steps_per_token=1)
    embodiment = read_embodiment(checkpoint, tag, EMBODIMENT_IDS)
    check_fit(embodiment, head_config)
    folder = find_backbone_files(config["model_name"], backbone_path, NEEDED_FILES, on_hub=False)
    backbone_config = read_json(folder / "config.json")
    check_backbone(backbone_config)
    tokenizer = ChatTokenizer(folder, TEMPLATES)
    with torch.device("meta"):
        network = EagleNetwork(backbone_config, config["select_layer"])
        head = ActionHead(head_config)
    parts = (
        Part(network, prefixed("backbone.model.")),
        Part(head, head_naming(embodiment.index)),
    )
    check_weights(checkpoint, parts, UNUSED)

    load_weights(checkpoint, parts, device, dtype)
    network.restore_buffers()
    backbone = EagleBackbone(
        network,
        backbone_config,
        tokenizer,
        image_pipeline(checkpoint.processor),
        checkpoint.processor.get("formalize_language", True),
    )
    return Model(embodiment, backbone, head)
