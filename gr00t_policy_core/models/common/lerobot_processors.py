# SPDX-License-Identifier: Apache-2.0
"""Reads the steps of the two processors that LeRobot saves beside a GR00T checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gr00t_policy_core.errors import CheckpointError
from gr00t_policy_core.models.common.files import read_json

PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"
PACK, ENCODE = "groot_n1_7_pack_inputs_v1", "groot_n1_7_vlm_encode_v1"
DECODE, UNNORMALIZE = "groot_n1_7_action_decode_v1", "groot_action_unpack_unnormalize_v2"
WITHOUT_EFFECT = ("rename_observations_processor", "to_batch_processor", "device_processor")
OF_N1_5 = (
    "groot_pack_inputs_v3",
    "groot_eagle_encode_v3",
    "groot_eagle_collate_v3",
    "groot_action_unpack_unnormalize_v1",
)
N1_5 = (
    "is a LeRobot checkpoint of GR00T N1.5; supported are N1.6 and N1.7. lerobot 0.5.1 is the last "
    "release that runs N1.5"
)


@dataclass(frozen=True, slots=True)
class ProcessorStep:
    """One step of a saved processor.

    Args:
        file: The JSON file of the processor, for errors.
        config: The settings of the step.
        state: The tensors of the step's state file, by name; empty if it has none.
    """

    file: Path
    config: Mapping[str, Any]
    state: Mapping[str, np.ndarray[Any, Any]]

    def flag(self, name: str, default: bool) -> bool:
        """A boolean setting; raises `CheckpointError` for another type."""
        value = self.config.get(name, default)
        if not isinstance(value, bool):
            raise CheckpointError(self.file, f"{name} must be true or false, got {value!r}")
        return value


def read_processor(file: Path, known: Sequence[str]) -> dict[str, ProcessorStep]:
    """Read the steps of a processor that have an effect.

    Args:
        file: The JSON file of the processor.
        known: The names of the steps that are implemented here.

    Returns:
        The steps of these names, by name.

    Raises:
        CheckpointError: The file is missing or damaged, or has a step that is not supported.
    """
    listed = read_json(file, "steps")["steps"]
    found: dict[str, ProcessorStep] = {}
    for step in listed if isinstance(listed, list) else []:
        name = str(step.get("registry_name")) if isinstance(step, dict) else ""
        if name in OF_N1_5:
            raise CheckpointError(file, f"has the step {name}: it {N1_5}")
        if name in known:
            config = step.get("config")
            found[name] = ProcessorStep(
                file, config if isinstance(config, dict) else {}, _read_state(file, step)
            )
        elif name not in WITHOUT_EFFECT:
            raise CheckpointError(file, f"has the step {name!r}, which is not supported")
    return found


def _read_state(file: Path, step: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    from safetensors.numpy import load_file

    name = step.get("state_file")
    if name is None:
        return {}
    path = file.parent / str(name)
    if path.parent != file.parent:
        raise CheckpointError(file, f"names {name!r}, which is not a file in its folder")
    if not path.exists():
        raise CheckpointError(path, "is missing")
    try:
        tensors: dict[str, np.ndarray[Any, Any]] = load_file(str(path))
    except Exception as error:  # not every release of safetensors exports its error class
        raise CheckpointError(path, f"is not a safetensors file: {error}") from error
    return tensors


def require_one_step(steps: Mapping[str, ProcessorStep], file: Path, *names: str) -> ProcessorStep:
    """The only step of these names; raises `CheckpointError` for none or several."""
    found = [steps[name] for name in names if name in steps]
    if len(found) != 1:
        raise CheckpointError(
            file, f"must have exactly one step of {list(names)}, has {sorted(steps)}"
        )
    return found[0]


def check_normalized(step: ProcessorStep) -> None:
    """Raise `CheckpointError` for a step that does not normalize by min and max."""
    if not step.flag("normalize_min_max", True):
        raise CheckpointError(step.file, "normalize_min_max must be true, got false")
