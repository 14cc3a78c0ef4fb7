# SPDX-License-Identifier: Apache-2.0
"""What the files of a checkpoint say, whoever saved it; a few kilobytes, checked before use.

A missing file, a truncated one or a missing tensor is found before any weight is loaded.
`gr00t_policy_core.models.common.checkpoint_formats` finds out what a folder holds, and
`gr00t_policy_core.models.common.weights` loads the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gr00t_policy_core.errors import CheckpointError
from gr00t_policy_core.models.common.files import read_json
from gr00t_policy_core.models.common.weight_files import StoredTensor, find_weights


@dataclass(frozen=True, slots=True)
class LoraWeights:
    """What a LoRA adapter adds to one layer's weights: scale · B · A.

    Args:
        a: (rank, inputs).
        b: (outputs, rank).
        scale: The factor.
    """

    a: StoredTensor
    b: StoredTensor
    scale: float


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """A LoRA adapter.

    Args:
        folder: Where it is.
        base: The model that it is for, None where it does not say.
        layers: What is added, by the name of the weights in the base.
        replaced: What takes the place of the base's own.
    """

    folder: Path
    base: str | None
    layers: Mapping[str, LoraWeights]
    replaced: Mapping[str, StoredTensor]


@dataclass(frozen=True, slots=True)
class LeRobotProcessing:
    """What LeRobot does otherwise than Isaac-GR00T.

    Args:
        images: How pictures are made; the config of its step ``groot_n1_7_vlm_encode_v1``.
        libero_key: The action whose last value is turned into LIBERO's sign, None for none.
        empty_instruction: What an empty instruction is read as.
    """

    images: Mapping[str, Any]
    libero_key: str | None
    empty_instruction: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the files of a checkpoint say.

    Args:
        folder: Where it is.
        config: ``config.json``.
        processor: ``processor_kwargs`` of ``processor_config.json``.
        processor_folder: Where that and the other files of the processor are.
        statistics: ``statistics.json``: by embodiment tag, modality, key and kind.
        embodiment_ids: ``embodiment_id.json``, or empty where there is none: which of the
            per-embodiment weights a tag uses.
        tensors: Every tensor of its weights, by name; see `find_weights`.
        kind: What it is, in words.
        lerobot: Where LeRobot saved it; None where Isaac-GR00T did.
        lora: What is added to weights when they are read, by their names.
    """

    folder: Path
    config: Mapping[str, Any]
    processor: Mapping[str, Any]
    processor_folder: Path
    statistics: Mapping[str, Any]
    embodiment_ids: Mapping[str, int]
    tensors: Mapping[str, StoredTensor]
    kind: str = "Isaac-GR00T checkpoint"
    lerobot: LeRobotProcessing | None = None
    lora: Mapping[str, LoraWeights] = field(default_factory=dict)


def read_isaac(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, StoredTensor] | None = None,
) -> Checkpoint:
    """A checkpoint as Isaac-GR00T saves it.

    Args:
        folder: Where it is.
        config: Its config.json.
        tensors: Its weights; None reads them from the folder.

    Raises:
        CheckpointError: Naming the file that is missing, damaged or incomplete.
    """
    processor_folder = folder
    if not (folder / "processor_config.json").exists() and (folder / "processor").is_dir():
        processor_folder = folder / "processor"
    processor_file = processor_folder / "processor_config.json"
    processor = read_json(processor_file).get("processor_kwargs")
    if not isinstance(processor, dict):
        raise CheckpointError(processor_file, "has no processor_kwargs: not of GR00T N1.6 or N1.7")
    ids_file = processor_folder / "embodiment_id.json"
    return Checkpoint(
        folder=folder,
        config=config,
        processor=processor,
        processor_folder=processor_folder,
        statistics=read_json(processor_folder / "statistics.json"),
        embodiment_ids=read_json(ids_file) if ids_file.exists() else {},
        tensors=find_weights(folder) if tensors is None else tensors,
    )
