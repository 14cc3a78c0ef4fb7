# SPDX-License-Identifier: Apache-2.0
"""Modality configs, which say what a policy reads and writes, and checks of data against them.

An observation is ``{"video": {key: uint8 (B, T, H, W, 3) RGB}, "state": {key: float32 (B, T, D)},
"language": {key: list of B lists of T strings}}``; an action is ``{key: float32 (B, horizon, D)}``.
T and horizon are the number of `delta_indices` of the modality. This is the layout of
Isaac-GR00T's policies, and this module is the only place that checks it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import numpy as np

from gr00t_policy_core.errors import SpecError

OBSERVATION_MODALITIES = ("video", "state", "language")

# For isinstance, which tries dict first: to ask the ABC takes ten times as long.
MAPPING_TYPES = (dict, Mapping)


@dataclass(frozen=True, slots=True)
class _ArrayLayout:
    """What the arrays of a modality look like; their first two axes are B and T.

    Args:
        dtype: Of the arrays.
        rank: How many axes they have.
        other_axes: After B and T, for error texts.
        channels: The size of the last axis; None for any.
    """

    dtype: np.dtype[Any]
    rank: int
    other_axes: str
    channels: int | None = None

    def describe(self, steps: int) -> str:
        return f"a {self.dtype} array of shape (B, {steps}, {self.other_axes})"


_VECTORS = _ArrayLayout(np.dtype(np.float32), 3, "D")
_VIDEO = _ArrayLayout(np.dtype(np.uint8), 5, "H, W, 3", channels=3)


class ActionRepresentation(Enum):
    """What the values of an action are relative to."""

    RELATIVE = "relative"  # from the last state of the observation
    DELTA = "delta"  # from the step before
    ABSOLUTE = "absolute"


class ActionType(Enum):
    """Whether an action key controls an end effector or something else, such as joints."""

    EEF = "eef"
    NON_EEF = "non_eef"


class ActionFormat(Enum):
    """The layout of the values of an action key."""

    DEFAULT = "default"
    XYZ_ROT6D = "xyz+rot6d"
    XYZ_ROTVEC = "xyz+rotvec"


@dataclass(frozen=True, slots=True)
class ActionConfig:
    """What the values of one action key mean.

    Args:
        rep: What the values are relative to; a member or its name.
        type: End effector or not; a member or its name.
        format: The layout of the values; a member or its name.
        state_key: The state that RELATIVE values refer to; None means the key of the same name.

    Raises:
        SpecError: A name is not that of a member.
    """

    rep: ActionRepresentation
    type: ActionType
    format: ActionFormat
    state_key: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rep", _member(ActionRepresentation, "rep", self.rep))
        object.__setattr__(self, "type", _member(ActionType, "type", self.type))
        object.__setattr__(self, "format", _member(ActionFormat, "format", self.format))

    def as_json(self) -> dict[str, Any]:
        """The wire form: enums by name, as both lines of Isaac-GR00T write them."""
        return {
            "rep": self.rep.name,
            "type": self.type.name,
            "format": self.format.name,
            "state_key": self.state_key,
        }


@dataclass(frozen=True, slots=True)
class ModalityConfig:
    """The keys of a modality, and the steps at which it is sampled, relative to now.

    Args:
        delta_indices: Steps of the training data relative to now: ``[0]`` is now,
            ``[-20, 0]`` a history of two, ``range(16)`` an action horizon of 16.
        modality_keys: Names of the cameras, state groups, action groups or prompts.
        sin_cos_embedding_keys: Keys that the model reads as sine and cosine.
        mean_std_embedding_keys: Keys that the model normalises by mean and standard deviation.
        action_configs: One `ActionConfig` (or its wire form) per key, for actions.

    Raises:
        SpecError: A field has the wrong type, keys are empty or repeated, or the number of action
            configs is not that of the keys.
    """

    delta_indices: list[int]
    modality_keys: list[str]
    sin_cos_embedding_keys: list[str] | None = None
    mean_std_embedding_keys: list[str] | None = None
    action_configs: list[ActionConfig] | None = None

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise SpecError("bad modality config", problems)
        object.__setattr__(self, "delta_indices", list(self.delta_indices))
        object.__setattr__(self, "modality_keys", list(self.modality_keys))
        if self.action_configs is not None:
            parsed = [_action_config(config) for config in self.action_configs]
            object.__setattr__(self, "action_configs", parsed)

    def _problems(self) -> Iterator[str]:
        if not _is_list_of(int, self.delta_indices):
            yield f"delta_indices must be a non-empty list of int, got {self.delta_indices!r}"
        if not _is_list_of(str, self.modality_keys):
            yield f"modality_keys must be a non-empty list of str, got {self.modality_keys!r}"
        elif len(set(self.modality_keys)) != len(self.modality_keys):
            yield f"modality_keys must not repeat a key, got {self.modality_keys!r}"
        for field in ("sin_cos_embedding_keys", "mean_std_embedding_keys"):
            keys = getattr(self, field)
            is_empty = isinstance(keys, (list, tuple)) and not keys
            if keys is not None and not is_empty and not _is_list_of(str, keys):
                yield f"{field} must be a list of str or None, got {keys!r}"
        configs: Any = self.action_configs
        if configs is None:
            return
        if not isinstance(configs, (list, tuple)):
            yield f"action_configs must be a list or None, got {configs!r}"
        elif _is_list_of(str, self.modality_keys) and len(configs) != len(self.modality_keys):
            yield (
                f"action_configs must have one entry per key, got {len(configs)} "
                f"for {len(self.modality_keys)} keys"
            )

    def as_json(self) -> dict[str, Any]:
        """The wire form: plain lists and strings, enums by name."""
        fields = asdict(self)
        if self.action_configs is not None:
            fields["action_configs"] = [config.as_json() for config in self.action_configs]
        return fields


def modality_configs_from_json(raw: Mapping[str, Any]) -> dict[str, ModalityConfig]:
    """Build the configs of all modalities from plain dicts, such as a JSON file holds.

    Raises:
        SpecError: Names every modality whose entry is not a config, and why.
    """
    if not isinstance(raw, MAPPING_TYPES):
        raise SpecError("bad modality configs", [f"expected a dict, got {_describe(raw)}"])
    configs: dict[str, ModalityConfig] = {}
    problems: list[str] = []
    for modality, fields in raw.items():
        try:
            configs[modality] = ModalityConfig(**fields)
        except (SpecError, TypeError) as error:
            problems.append(f"{modality}: {error}")
    if problems:
        raise SpecError("bad modality configs", problems)
    return configs


def check_observation(
    observation: Mapping[str, Any], configs: Mapping[str, ModalityConfig]
) -> None:
    """Check an observation against the configs of a policy.

    Keys and modalities that the configs do not name are ignored, as Isaac-GR00T does.

    Args:
        observation: With the layout in this module's docstring.
        configs: By modality; the ``"action"`` entry is not used.

    Raises:
        SpecError: Names each key that is wrong, what was expected and what came.
    """
    if not isinstance(observation, MAPPING_TYPES):
        raise SpecError("bad observation", [f"expected a dict, got {_describe(observation)}"])
    problems: list[str] = []
    batch_sizes: dict[str, int] = {}
    for modality in OBSERVATION_MODALITIES:
        config = configs.get(modality)
        if config is None:
            continue
        entries = observation.get(modality)
        if not isinstance(entries, MAPPING_TYPES):
            problems.append(f"{modality}: expected a dict of its keys, got {_describe(entries)}")
            continue
        steps = len(config.delta_indices)
        for key in config.modality_keys:
            name = f"{modality}.{key}"
            if key not in entries:
                problems.append(f"{name}: missing, got only {sorted(map(str, entries))}")
                continue
            value = entries[key]
            if modality == "language":
                found = _language_problems(value, steps)
            else:
                found = _array_problems(value, _VIDEO if modality == "video" else _VECTORS, steps)
            if found:
                problems += [f"{name}: {problem}" for problem in found]
            else:
                batch_sizes[name] = len(value)
    if len(set(batch_sizes.values())) > 1:
        problems.append(f"batch sizes differ between keys: {batch_sizes}")
    if problems:
        raise SpecError("bad observation", [*problems, *_flat_key_problems(observation)])


def check_action(action: Mapping[str, Any], config: ModalityConfig) -> None:
    """Check an action against the ``"action"`` config of a policy.

    Args:
        action: ``{key: float32 (B, horizon, D)}`` in physical units.
        config: Names the keys and the horizon.

    Raises:
        SpecError: Names each key that is wrong, what was expected and what came; values that are
            not finite are wrong.
    """
    if not isinstance(action, MAPPING_TYPES):
        raise SpecError("bad action", [f"expected a dict, got {_describe(action)}"])
    problems: list[str] = []
    batch_sizes: dict[str, int] = {}
    steps = len(config.delta_indices)
    for key in config.modality_keys:
        name = f"action.{key}"
        if key not in action:
            problems.append(f"{name}: missing, got only {sorted(map(str, action))}")
            continue
        value = action[key]
        found = _array_problems(value, _VECTORS, steps)
        # Not `.all()`, which takes twice as long for so few values.
        if not found and np.count_nonzero(np.isfinite(value)) != value.size:
            found = ["has values that are not finite"]
        if found:
            problems += [f"{name}: {problem}" for problem in found]
        else:
            batch_sizes[name] = len(value)
    if len(set(batch_sizes.values())) > 1:
        problems.append(f"batch sizes differ between keys: {batch_sizes}")
    if problems:
        raise SpecError("bad action", problems)


def _array_problems(value: Any, layout: _ArrayLayout, steps: int) -> list[str]:
    # Error texts are made only where they are needed: this runs for every array of every request.
    if not isinstance(value, np.ndarray):
        return [f"expected {layout.describe(steps)}, got {_describe(value)}"]
    problems = []
    shape = value.shape
    if value.dtype != layout.dtype:
        problems.append(f"expected {layout.describe(steps)}, got dtype {value.dtype}")
    if len(shape) != layout.rank or 0 in shape:
        problems.append(f"expected {layout.describe(steps)}, got shape {shape}")
    elif shape[1] != steps:
        problems.append(f"expected {steps} steps, got {shape[1]} (shape {shape})")
    if layout.channels and len(shape) == layout.rank and shape[-1] != layout.channels:
        problems.append(f"expected {layout.channels} channels (RGB) last, got shape {shape}")
    return problems


def _language_problems(value: Any, steps: int) -> list[str]:
    if not isinstance(value, list) or not value:
        return [f"expected a list of B lists of {steps} strings, got {_describe(value)}"]
    problems = []
    for row, prompts in enumerate(value):
        if not isinstance(prompts, list) or not all(isinstance(p, str) for p in prompts):
            problems.append(
                f"row {row}: expected a list of {steps} strings, got {_describe(prompts)}"
            )
        elif len(prompts) != steps:
            problems.append(f"row {row}: expected {steps} strings, got {len(prompts)}")
    return problems


def _flat_key_problems(observation: Mapping[str, Any]) -> Iterator[str]:
    flat = [key for key in map(str, observation) if key.startswith(("video.", "state."))]
    if flat:
        modality, _, name = flat[0].partition(".")
        yield (
            f"the keys {flat} are flat, this policy takes nested ones: "
            f'{{"{modality}": {{"{name}": …}}}}; a server that is started with '
            "--use-sim-policy-wrapper takes flat ones, from a PolicyClient(strict=False)"
        )


def _describe(value: Any) -> str:
    """A value in an error text: its type, and the value where it is short."""
    text = repr(value) if not isinstance(value, np.ndarray) else f"shape {value.shape}"
    return type(value).__name__ if len(text) > 60 else f"{type(value).__name__} {text}"


def _is_list_of(kind: type, value: Any) -> bool:
    if not isinstance(value, (list, tuple, range)) or not value:
        return False
    return all(isinstance(item, kind) for item in value)


def _action_config(config: Any) -> ActionConfig:
    """An `ActionConfig`, from itself or its wire form."""
    if isinstance(config, ActionConfig):
        return config
    try:
        return ActionConfig(**config)
    except TypeError as error:
        raise SpecError("bad action config", [f"{error}, got {config!r}"]) from error


def _member(enum: type[Enum], field: str, value: Any) -> Any:
    if isinstance(value, enum):
        return value
    if isinstance(value, str) and value.upper() in enum.__members__:
        return enum[value.upper()]
    raise SpecError(
        "bad action config",
        [f"{field} must be one of {list(enum.__members__)}, got {value!r}"],
    )
