# SPDX-License-Identifier: Apache-2.0
"""The content of a checkpoint's files except for the weights, in one form for all formats.

These are a few kilobytes. Checking them finds a missing file, a truncated one or a missing tensor
before any weight is loaded. `gr00t_policy_core.models.common.checkpoint_formats` detects the
format, and `gr00t_policy_core.models.common.weights` loads the weights.
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
    """The matrices of a LoRA adapter for one layer, which add scale · B · A to its weights.

    Args:
        a: The stored matrix A, of shape (rank, inputs).
        b: The stored matrix B, of shape (outputs, rank).
        scale: alpha / rank; alpha / √rank for rank-stabilized LoRA.
    """

    a: StoredTensor
    b: StoredTensor
    scale: float


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """A LoRA adapter.

    Args:
        folder: The folder of the adapter's files.
        base: The path or hub id of the base model; None if the adapter does not name it.
        layers: The matrices of each adapted layer, by the name of its weights in the base model.
        replaced: Tensors that replace those of the base model, by name.
    """

    folder: Path
    base: str | None
    layers: Mapping[str, LoraWeights]
    replaced: Mapping[str, StoredTensor]


@dataclass(frozen=True, slots=True)
class LeRobotProcessing:
    """The processing that differs between LeRobot and Isaac-GR00T.

    Args:
        images: The image pipeline: the config of the step ``groot_n1_7_vlm_encode_v1``.
        libero_key: The action key whose last value is mapped to LIBERO's sign; None for none.
        empty_instruction: The text that replaces an empty instruction.
    """

    images: Mapping[str, Any]
    libero_key: str | None
    empty_instruction: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The content of a checkpoint's files, in the form of Isaac-GR00T.

    Args:
        folder: The folder of the checkpoint.
        config: The content of ``config.json``.
        processor: ``processor_kwargs`` in ``processor_config.json``.
        processor_folder: The folder of ``processor_config.json`` and ``statistics.json``.
        statistics: ``statistics.json``: by embodiment tag, modality, key and kind.
        embodiment_ids: ``embodiment_id.json``: the index of each tag among the per-embodiment
            weights. Empty if there is no such file.
        tensors: The location of every tensor, by name; see `find_weights`.
        kind: The format in words, for messages.
        lerobot: The processing of a LeRobot checkpoint; None for Isaac-GR00T's.
        lora: LoRA matrices that are merged when weights are read, by the name of the weights.
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
    """Read a checkpoint as Isaac-GR00T saves it.

    Args:
        folder: The folder of the checkpoint.
        config: The content of its config.json.
        tensors: The location of every tensor; None finds them in the folder.

    Raises:
        CheckpointError: A file is missing, damaged or incomplete; the message names it.
    """
    processor_folder = folder
    if not (folder / "processor_config.json").exists() and (folder / "processor").is_dir():
        processor_folder = folder / "processor"
    processor_file = processor_folder / "processor_config.json"
    processor = read_json(processor_file).get("processor_kwargs")
    if not isinstance(processor, dict):
        raise CheckpointError(
            processor_file, "has no processor_kwargs: it is not of GR00T N1.6 or N1.7"
        )
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
