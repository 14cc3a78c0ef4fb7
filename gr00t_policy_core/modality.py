# SPDX-License-Identifier: Apache-2.0
"""What a policy reads and writes: modality configurations, and checking data against them.

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

_UINT8 = np.dtype(np.uint8)
_FLOAT32 = np.dtype(np.float32)
# Modality, dtype and number of dimensions; no prompt is an array.
_LAYOUTS = (("video", _UINT8, 5), ("state", _FLOAT32, 3), ("language", None, 0))


class ActionRepresentation(Enum):
    """What an action value is measured from."""

    RELATIVE = "relative"  # from the last state of the observation
    DELTA = "delta"  # from the step before
    ABSOLUTE = "absolute"


class ActionType(Enum):
    """Whether an action key moves an end effector or joints (and the like)."""

    EEF = "eef"
    NON_EEF = "non_eef"


class ActionFormat(Enum):
    """How the values of an action key are laid out."""

    DEFAULT = "default"
    XYZ_ROT6D = "xyz+rot6d"
    XYZ_ROTVEC = "xyz+rotvec"


@dataclass(frozen=True, slots=True)
class ActionConfig:
    """How one action key is to be understood.

    Args:
        rep: What the values are measured from; a member or its name.
        type: End effector or not; a member or its name.
        format: The layout of the values; a member or its name.
        state_key: The state that RELATIVE values refer to; None means the key of the same name.

    Raises:
        SpecError: A name that is no member.
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
    """Which keys a modality has, and at which steps around the present it is sampled.

    Args:
        delta_indices: Steps of the training data relative to now: ``[0]`` is now,
            ``[-20, 0]`` a history of two, ``range(16)`` an action horizon of 16.
        modality_keys: Names of the cameras, state groups, action groups or prompts.
        sin_cos_embedding_keys: Keys that the model reads as sine and cosine.
        mean_std_embedding_keys: Keys that the model normalises by mean and deviation.
        action_configs: One `ActionConfig` (or its wire form) per key, for actions.

    Raises:
        SpecError: A field of the wrong type, empty or repeated keys, or another number of
            action configs than of keys.
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
    """Build the configs of all modalities from plain dicts, as a JSON file holds them.

    Raises:
        SpecError: Naming every modality whose entry is not a config, and why.
    """
    if not isinstance(raw, Mapping):
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
    """Hold an observation against the configs of a policy.

    Keys and modalities that the configs do not name are ignored, as the reference does.

    Args:
        observation: Laid out as this module's docstring says.
        configs: By modality name; the ``"action"`` entry is not used.

    Raises:
        SpecError: Naming each key that is wrong, what was expected and what came.
    """
    if _observation_fits(observation, configs):
        return
    if not isinstance(observation, Mapping):
        raise SpecError("bad observation", [f"expected a dict, got {_describe(observation)}"])
    problems: list[str] = []
    batch_sizes: dict[str, int] = {}
    for modality in OBSERVATION_MODALITIES:
        if modality not in configs:
            continue
        entries = observation.get(modality)
        if not isinstance(entries, Mapping):
            problems.append(f"{modality}: expected a dict of its keys, got {_describe(entries)}")
            continue
        config = configs[modality]
        for key in config.modality_keys:
            name = f"{modality}.{key}"
            if key not in entries:
                problems.append(f"{name}: missing, got only {sorted(map(str, entries))}")
                continue
            value = entries[key]
            found = list(_entry_problems(modality, value, len(config.delta_indices)))
            problems.extend(f"{name}: {problem}" for problem in found)
            if not found:
                batch_sizes[name] = len(value)
    problems.extend(_batch_problems(batch_sizes))
    if problems:
        raise SpecError("bad observation", [*problems, *_flat_key_problems(observation)])


def check_action(action: Mapping[str, Any], config: ModalityConfig) -> None:
    """Hold an action against the ``"action"`` config of a policy.

    Args:
        action: ``{key: float32 (B, horizon, D)}`` in physical units.
        config: Names the keys and the horizon.

    Raises:
        SpecError: Naming each key that is wrong, what was expected and what came; values that
            are not finite are wrong.
    """
    if _action_fits(action, config):
        return
    if not isinstance(action, Mapping):
        raise SpecError("bad action", [f"expected a dict, got {_describe(action)}"])
    problems: list[str] = []
    batch_sizes: dict[str, int] = {}
    for key in config.modality_keys:
        if key not in action:
            problems.append(f"action.{key}: missing, got only {sorted(map(str, action))}")
            continue
        found = list(_array_problems(action[key], np.float32, len(config.delta_indices), "D"))
        if not found and not np.isfinite(action[key]).all():
            found.append("has values that are not finite")
        problems.extend(f"action.{key}: {problem}" for problem in found)
        if not found:
            batch_sizes[f"action.{key}"] = len(action[key])
    problems.extend(_batch_problems(batch_sizes))
    if problems:
        raise SpecError("bad action", problems)


def _observation_fits(observation: Any, configs: Mapping[str, ModalityConfig]) -> bool:
    """A quick look, for every request: True only where a thorough one finds no problem."""
    if type(observation) is not dict:
        return False
    rows = set()
    for modality, dtype, dimensions in _LAYOUTS:
        config = configs.get(modality)
        if config is None:
            continue
        entries = observation.get(modality)
        if type(entries) is not dict:
            return False
        steps = len(config.delta_indices)
        for key in config.modality_keys:
            value: Any = entries.get(key)
            if type(value) is np.ndarray:
                shape = value.shape
                if value.dtype is not dtype or len(shape) != dimensions or 0 in shape:
                    return False
                if shape[1] != steps or (dimensions == 5 and shape[4] != 3):
                    return False
                rows.add(shape[0])
            elif modality == "language" and _prompts_fit(value, steps):
                rows.add(len(value))
            else:
                return False
    return len(rows) < 2


def _prompts_fit(value: Any, steps: int) -> bool:
    if type(value) is not list or not value:
        return False
    for prompts in value:
        if type(prompts) is not list or len(prompts) != steps:
            return False
        for prompt in prompts:
            if type(prompt) is not str:
                return False
    return True


def _action_fits(action: Any, config: ModalityConfig) -> bool:
    """As `_observation_fits`."""
    if type(action) is not dict:
        return False
    rows = set()
    steps = len(config.delta_indices)
    for key in config.modality_keys:
        value = action.get(key)
        if type(value) is not np.ndarray or value.dtype is not _FLOAT32:
            return False
        shape = value.shape
        if len(shape) != 3 or shape[1] != steps or 0 in shape:
            return False
        if np.count_nonzero(np.isfinite(value)) != value.size:
            return False
        rows.add(shape[0])
    return len(rows) < 2


def _entry_problems(modality: str, value: Any, steps: int) -> Iterator[str]:
    if modality == "language":
        yield from _language_problems(value, steps)
    elif modality == "video":
        yield from _array_problems(value, np.uint8, steps, "H, W, 3")
        if isinstance(value, np.ndarray) and value.ndim == 5 and value.shape[-1] != 3:
            yield f"expected 3 channels (RGB) last, got shape {value.shape}"
    else:
        yield from _array_problems(value, np.float32, steps, "D")


def _array_problems(value: Any, dtype: type[np.generic], steps: int, rest: str) -> Iterator[str]:
    expected = f"a {dtype.__name__} array of shape (B, {steps}, {rest})"
    if not isinstance(value, np.ndarray):
        yield f"expected {expected}, got {_describe(value)}"
        return
    if value.dtype != dtype:
        yield f"expected {expected}, got dtype {value.dtype}"
    if value.ndim != 3 + rest.count(",") or 0 in value.shape:
        yield f"expected {expected}, got shape {value.shape}"
    elif value.shape[1] != steps:
        yield f"expected {steps} steps, got {value.shape[1]} (shape {value.shape})"


def _language_problems(value: Any, steps: int) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield f"expected a list of B lists of {steps} strings, got {_describe(value)}"
        return
    for row, prompts in enumerate(value):
        if not isinstance(prompts, list) or not all(isinstance(p, str) for p in prompts):
            yield f"row {row}: expected a list of {steps} strings, got {_describe(prompts)}"
        elif len(prompts) != steps:
            yield f"row {row}: expected {steps} strings, got {len(prompts)}"


def _flat_key_problems(observation: Mapping[str, Any]) -> Iterator[str]:
    flat = [key for key in map(str, observation) if key.startswith(("video.", "state."))]
    if flat:
        modality, _, name = flat[0].partition(".")
        yield (
            f"the keys {flat} are flat, this policy takes nested ones: "
            f'{{"{modality}": {{"{name}": …}}}}; a server that is started with '
            "--use-sim-policy-wrapper takes flat ones, from a PolicyClient(strict=False)"
        )


def _batch_problems(batch_sizes: Mapping[str, int]) -> Iterator[str]:
    if len(set(batch_sizes.values())) > 1:
        yield f"batch sizes differ between keys: {batch_sizes}"


def _describe(value: Any) -> str:
    """A value in an error message: its type, and itself where it is short."""
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
