# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters as peft saves them: adapter_config.json and adapter_model.safetensors.

Each adapted layer is merged when its weights are read: W + scale · B · A, as peft's
`merge_and_unload` computes it. Adapters that do more than that are rejected by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gr00t_policy_core.errors import CheckpointError
from gr00t_policy_core.models.common.checkpoint import LoraAdapter, LoraWeights
from gr00t_policy_core.models.common.files import listed, read_json
from gr00t_policy_core.models.common.weight_files import StoredTensor, read_header

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
WRAPPERS = ("base_model.model.", "_groot_model.")  # peft's, and LeRobot's within

# Fields that change a layer by more than B · A; each is off if it is null, false or empty.
UNSUPPORTED = (
    "alora_invocation_tokens",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
)


def read_lora_adapter(folder: Path) -> LoraAdapter:
    """Read the adapter in a folder.

    Raises:
        CheckpointError: The adapter is damaged, or of a kind that cannot be merged here.
    """
    file = folder / CONFIG
    config = read_json(file)
    problems = list(_problems(config))
    if problems:
        raise CheckpointError(file, "; ".join(problems))
    stored = {_base_name(name): tensor for name, tensor in read_header(folder / WEIGHTS).items()}
    layers, replaced = {}, {}
    for name, tensor in stored.items():
        layer, is_a, _ = name.partition(".lora_A.weight")
        if is_a:
            layers[f"{layer}.weight"] = _low_rank(folder, config, layer, tensor, stored)
        elif ".lora_" not in name:
            replaced[name] = tensor
        elif not name.endswith(".lora_B.weight"):
            raise CheckpointError(folder / WEIGHTS, f"{name} is not supported")
    if not layers and not replaced:
        raise CheckpointError(folder / WEIGHTS, "adapts no layer")
    base = config.get("base_model_name_or_path")
    return LoraAdapter(folder, base if isinstance(base, str) and base else None, layers, replaced)


def check_fits(adapter: LoraAdapter, tensors: Mapping[str, StoredTensor]) -> None:
    """Raise `CheckpointError` if an adapter changes tensors that its base model does not have."""
    wrong = [
        f"{name}, of shape {(pair.b.shape[0], pair.a.shape[1])}"
        for name, pair in adapter.layers.items()
        if name not in tensors or tensors[name].shape != (pair.b.shape[0], pair.a.shape[1])
    ]
    wrong += [
        f"{name}, of shape {tensor.shape}"
        for name, tensor in adapter.replaced.items()
        if name not in tensors or tensors[name].shape != tensor.shape
    ]
    if wrong:
        raise CheckpointError(
            adapter.folder / WEIGHTS, f"is for another base model: this one lacks {listed(wrong)}"
        )


def _problems(config: Mapping[str, Any]) -> Iterator[str]:
    kind = config.get("peft_type")
    if kind != "LORA":
        yield f"peft_type {kind!r} is not supported, only 'LORA': merge the adapter with peft first"
        return
    for name in UNSUPPORTED:
        if config.get(name):
            yield f"{name} is not supported: merge the adapter with peft's merge_and_unload first"
    alphas = [config.get("lora_alpha"), *_pattern(config, "alpha_pattern").values()]
    if not all(isinstance(a, (int, float)) and not isinstance(a, bool) for a in alphas):
        yield f"lora_alpha and alpha_pattern must be numbers, got {alphas}"


def _base_name(name: str) -> str:
    """The name of the same tensor in the base model."""
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return name.replace(".base_layer.", ".").replace(".modules_to_save.", ".")


def _low_rank(
    folder: Path,
    config: Mapping[str, Any],
    layer: str,
    a: StoredTensor,
    stored: Mapping[str, StoredTensor],
) -> LoraWeights:
    b = stored.get(f"{layer}.lora_B.weight")
    if b is None or len(a.shape) != 2 or len(b.shape) != 2 or b.shape[1] != a.shape[0]:
        raise CheckpointError(folder / WEIGHTS, f"{layer}: lora_A and lora_B do not fit together")
    rank = a.shape[0]
    alphas = _pattern(config, "alpha_pattern")
    # As in peft's get_pattern_key, a key is a regular expression for the end of the name.
    matching = (key for key in alphas if re.match(rf"(.*\.)?({key})$", layer))
    alpha = alphas.get(next(matching, ""), config["lora_alpha"])
    return LoraWeights(a, b, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _pattern(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}
