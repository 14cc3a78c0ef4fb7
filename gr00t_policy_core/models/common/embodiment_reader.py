# SPDX-License-Identifier: Apache-2.0
"""Reads an embodiment from the files of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from gr00t_policy_core.embodiment import EmbodimentTag
from gr00t_policy_core.errors import CheckpointError, SpecError
from gr00t_policy_core.modality import (
    ActionConfig,
    ActionRepresentation,
    ModalityConfig,
    modality_configs_from_json,
)
from gr00t_policy_core.models.common.checkpoint import Checkpoint
from gr00t_policy_core.models.common.embodiment import ActionKey, Embodiment, StateKey
from gr00t_policy_core.models.common.json_fields import is_integer, read_flag
from gr00t_policy_core.models.common.normalization import (
    KeyStatistics,
    LiberoGripper,
    Normalization,
    SinCos,
)
from gr00t_policy_core.models.common.relative import format_problem

MODALITIES = ("video", "state", "action", "language")


def find_tag(checkpoint: Checkpoint, tag: EmbodimentTag | str) -> str:
    """The spelling of a tag in a checkpoint; the tag's own value if the checkpoint has none.

    A name may have another value in each model line: UNITREE_G1 is "unitree_g1" in N1.6.

    Raises:
        ValueError: The tag is empty.
        TypeError: The tag is not a string.
    """
    resolved = EmbodimentTag.resolve(tag)
    spellings = [resolved.value, resolved.name] if isinstance(resolved, EmbodimentTag) else []
    spellings += [tag.strip()]
    known = checkpoint.processor.get("modality_configs")
    if not isinstance(known, dict):
        return spellings[0]
    for spelling in (*spellings, *(name.lower() for name in spellings)):
        if spelling in known:
            return spelling
    return spellings[0]


def read_embodiment(checkpoint: Checkpoint, tag: str, default_ids: Mapping[str, int]) -> Embodiment:
    """Read an embodiment of a checkpoint.

    Args:
        checkpoint: The content of the checkpoint's files.
        tag: The embodiment tag, as the checkpoint spells it.
        default_ids: The model line's index of each tag, for tags that embodiment_id.json leaves
            out.

    Raises:
        SpecError: The checkpoint does not have the tag, or its statistics are incomplete.
        CheckpointError: The modality configs are invalid.
    """
    known = checkpoint.processor.get("modality_configs")
    file = checkpoint.processor_folder / "processor_config.json"
    if not isinstance(known, dict):
        raise CheckpointError(file, "has no modality_configs")
    ids = {**default_ids, **checkpoint.embodiment_ids}
    if tag not in known or tag not in ids:
        where = file.name if tag not in known else "embodiment_id.json"
        supported = sorted(set(known) & set(ids))
        raise SpecError(
            "wrong embodiment tag", [f"{tag!r} is not in {where}; the checkpoint knows {supported}"]
        )
    modalities = _modalities(file, tag, known[tag])
    if not is_integer(ids[tag], minimum=0):
        raise SpecError(
            "bad embodiment_id.json", [f"{tag} must be an integer of at least 0, got {ids[tag]!r}"]
        )
    states = tuple(_state_keys(checkpoint, tag, modalities["state"]))
    return Embodiment(
        tag=tag,
        index=ids[tag],
        modalities=modalities,
        states=states,
        actions=tuple(_action_keys(checkpoint, tag, modalities["action"], states)),
        exclude_state=read_flag(checkpoint.processor, "exclude_state", False)
        or bool(known[tag]["state"].get("exclude_state")),
        empty_instruction=checkpoint.lerobot.empty_instruction if checkpoint.lerobot else "",
    )


def _modalities(file: Path, tag: str, configs: Any) -> dict[str, ModalityConfig]:
    found = configs if isinstance(configs, dict) else {}
    missing = [name for name in MODALITIES if not isinstance(found.get(name), dict)]
    if missing:
        raise CheckpointError(file, f"modality_configs.{tag} lacks {missing}")
    try:
        return modality_configs_from_json({name: _known_fields(found[name]) for name in MODALITIES})
    except SpecError as error:
        raise CheckpointError(
            file, f"modality_configs.{tag}: {'; '.join(error.problems)}"
        ) from error


def _known_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a modality config without those that only training reads."""
    names = {field.name for field in fields(ModalityConfig)}
    return {name: value for name, value in config.items() if name in names}


def _statistics(
    checkpoint: Checkpoint, tag: str, modality: str, key: str, steps: int
) -> KeyStatistics:
    """The statistics of one key, for all steps together or for each of `steps` steps."""
    path = (tag, modality, key)
    found: Any = checkpoint.statistics
    for depth, name in enumerate(path, start=1):
        if not isinstance(found, dict) or name not in found:
            file = checkpoint.processor_folder / "statistics.json"
            problem = (
                f"{'.'.join(path[:depth])} is missing in {file}; use the file that training wrote"
            )
            raise SpecError("bad statistics.json", [problem])
        found = found[name]
    statistics = KeyStatistics(".".join(path), found)
    shape = statistics.shape
    if shape[:-1] not in ((), (steps,)):
        expected = (steps, statistics.dim)
        problem = f"{statistics.name}.min must have shape {expected}, got {shape}"
        raise SpecError("bad statistics.json", [problem])
    return statistics


def _state_keys(checkpoint: Checkpoint, tag: str, config: ModalityConfig) -> Iterator[StateKey]:
    options = checkpoint.processor
    sin_cos = read_flag(options, "apply_sincos_state_encoding", False)
    for key in config.modality_keys:
        statistics = _statistics(checkpoint, tag, "state", key, len(config.delta_indices))
        dim = statistics.dim
        normalization: Normalization
        if sin_cos and key in (config.sin_cos_embedding_keys or ()):
            yield StateKey(key, dim, 2 * dim, SinCos())
            continue
        if key in (config.mean_std_embedding_keys or ()):
            normalization = statistics.mean_std(clip=False)
        else:
            normalization = statistics.min_max(
                read_flag(options, "use_percentiles", False),
                read_flag(options, "clip_outliers", True),
                exact=checkpoint.lerobot is not None,
            )
        yield StateKey(key, dim, dim, normalization)


def _action_keys(
    checkpoint: Checkpoint, tag: str, config: ModalityConfig, states: Sequence[StateKey]
) -> Iterator[ActionKey]:
    options = checkpoint.processor
    clip = read_flag(options, "clip_outliers", True)
    keys, horizon = config.modality_keys, len(config.delta_indices)
    configs: Sequence[ActionConfig | None] = config.action_configs or [None] * len(keys)
    for key, action in zip(keys, configs, strict=True):
        statistics = _statistics(checkpoint, tag, "action", key, horizon)
        dim = statistics.dim
        percentiles = read_flag(options, "use_percentiles", False)
        relative = action if _is_relative(action, options) else None
        state_key = key
        if relative is not None:
            state_key = relative.state_key or key
            statistics = _statistics(checkpoint, tag, "relative_action", key, horizon)
            percentiles = False  # the reference uses the extremes for relative actions
            _check_relative(statistics, relative, dim, state_key, states)
        normalization: Normalization = (
            statistics.mean_std(clip)
            if key in (config.mean_std_embedding_keys or ())
            else statistics.min_max(percentiles, clip, exact=checkpoint.lerobot is not None)
        )
        if checkpoint.lerobot is not None and key == checkpoint.lerobot.libero_key:
            normalization = LiberoGripper(normalization)
        yield ActionKey(key, dim, normalization, relative, state_key)


def _is_relative(action: ActionConfig | None, options: Mapping[str, Any]) -> bool:
    if action is None or action.rep is not ActionRepresentation.RELATIVE:
        return False
    return read_flag(options, "use_relative_action", False)


def _check_relative(
    statistics: KeyStatistics,
    action: ActionConfig,
    dim: int,
    state_key: str,
    states: Sequence[StateKey],
) -> None:
    """Raise `SpecError` for a relative action that cannot be converted to an absolute one."""
    problems = []
    state_dim = next((state.dim for state in states if state.name == state_key), None)
    if state_dim is None:
        problems.append(f"{statistics.name} refers to {state_key!r}, which is not a state key")
    elif state_dim != dim:
        problems.append(
            f"{statistics.name} has {dim} values per step, the state {state_key!r} has {state_dim}"
        )
    if statistics.dim != dim:
        problems.append(
            f"{statistics.name} has {statistics.dim} values per step, the action has {dim}"
        )
    format_error = format_problem(action, dim)
    if format_error is not None:
        problems.append(f"{statistics.name}: {format_error}")
    if problems:
        raise SpecError("bad relative action", problems)
