# SPDX-License-Identifier: Apache-2.0
"""Reads GR00T N1.7 checkpoints of LeRobot: ``type: groot`` of lerobot 0.6, from `lerobot-train`.

The architecture is that of the base model, which the checkpoint only names. The steps of its two
processors define the processing of observations and actions. This module reads them as lerobot
0.6.1 does, into the form of an Isaac-GR00T checkpoint (`Checkpoint`).

State and action are vectors in LeRobot. If the checkpoint divides them into groups, the groups are
the policy's keys; otherwise the keys are ``state`` and ``action``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gr00t_policy_core.errors import CheckpointError
from gr00t_policy_core.models.common.checkpoint import Checkpoint, LeRobotProcessing
from gr00t_policy_core.models.common.lerobot_processors import (
    DECODE,
    ENCODE,
    N1_5,
    PACK,
    POSTPROCESSOR,
    PREPROCESSOR,
    UNNORMALIZE,
    ProcessorStep,
    check_normalized,
    read_processor,
    require_one_step,
)
from gr00t_policy_core.models.common.weight_files import StoredTensor, find_weights

TYPE = "groot"
PREFIX = "_groot_model."
IMAGES = "observation.images."
EMPTY_INSTRUCTION = "Perform the task."  # lerobot replaces an empty one by this
EMBEDDING = "backbone.model.model.language_model.embed_tokens.weight"
OUTPUT_LAYER = "backbone.model.lm_head.weight"  # tied to the embedding

logger = logging.getLogger(__name__)


def check_type(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` for LeRobot's config.json of a policy that is not supported here."""
    kind = config["type"]
    if kind != TYPE:
        raise CheckpointError(
            folder / "config.json",
            f"has LeRobot's policy type {kind!r}; only {TYPE!r} is supported here, LeRobot itself "
            "serves the others",
        )
    base = str(config.get("base_model_path") or "").lower()
    if config.get("tokenizer_assets_repo") is not None or "n1.5" in base or "n1_5" in base:
        raise CheckpointError(folder / "config.json", N1_5)


def read_lerobot(
    folder: Path,
    config: Mapping[str, Any],
    base_config: Mapping[str, Any],
    tensors: Mapping[str, StoredTensor] | None = None,
) -> Checkpoint:
    """Read a checkpoint of LeRobot.

    Args:
        folder: The folder of the checkpoint.
        config: The content of its config.json, which `check_type` has accepted.
        base_config: The content of the base model's config.json.
        tensors: The location of every tensor, under the names of Isaac-GR00T; None finds them in
            the folder.

    Raises:
        CheckpointError: A file or a field is missing or not supported; the message names it.
    """
    before = read_processor(folder / PREPROCESSOR, (PACK, ENCODE))
    after = read_processor(folder / POSTPROCESSOR, (DECODE, UNNORMALIZE))
    pack, encode = require_one_step(before, folder / PREPROCESSOR, PACK), before.get(ENCODE)
    if encode is None:
        raise CheckpointError(folder / PREPROCESSOR, f"has no step {ENCODE}")
    check_normalized(pack)
    embodiment = _LeRobotEmbodiment(folder, config, pack, after)
    architecture = {**base_config, "model_name": encode.config.get("model_name")}
    if architecture["model_name"] is None:
        del architecture["model_name"]
    if config.get("num_inference_timesteps") is not None:
        architecture["num_inference_timesteps"] = config["num_inference_timesteps"]
    horizon = embodiment.horizon(architecture.get("action_horizon"))
    return Checkpoint(
        folder=folder,
        config=architecture,
        processor={
            "modality_configs": {embodiment.tag: embodiment.modality_configs(horizon)},
            "clip_outliers": pack.flag("clip_outliers", True),
            "use_relative_action": embodiment.relative,
            "use_percentiles": False,  # `statistics` has percentiles as min and max already
            "formalize_language": pack.flag("formalize_language", True),
        },
        processor_folder=folder,
        statistics={embodiment.tag: embodiment.statistics(horizon)},
        embodiment_ids={embodiment.tag: embodiment.index},
        tensors=isaac_names(find_weights(folder)) if tensors is None else tensors,
        kind="LeRobot checkpoint of GR00T N1.7",
        lerobot=LeRobotProcessing(encode.config, embodiment.libero_key, EMPTY_INSTRUCTION),
    )


def isaac_names(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors under the names of Isaac-GR00T."""
    found = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    if EMBEDDING not in found and OUTPUT_LAYER in found:
        found[EMBEDDING] = found[OUTPUT_LAYER]
    return found


def camera_keys(config: Mapping[str, Any]) -> list[str]:
    """The policy's camera keys, from the features in config.json, sorted."""
    features = config.get("input_features")
    names = features if isinstance(features, dict) else {}
    return sorted(name.removeprefix(IMAGES) for name in names if name.startswith(IMAGES))


class _LeRobotEmbodiment:
    """The one embodiment of a LeRobot checkpoint, read from its processor steps.

    Args:
        folder: The folder of the checkpoint.
        config: The content of its config.json.
        pack: The preprocessor step that packs observations.
        after: The postprocessor's steps by name, one of which decodes actions.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        pack: ProcessorStep,
        after: Mapping[str, ProcessorStep],
    ) -> None:
        self._folder = folder
        self._config = config
        self._pack = pack
        self._groups = DECODE in after
        self._decode = require_one_step(after, folder / POSTPROCESSOR, DECODE, UNNORMALIZE)
        self.tag = str(pack.config.get("embodiment_tag", "new_embodiment"))
        self.relative = self._groups and self._decode.flag("use_relative_action", False)
        if not self._groups:
            check_normalized(self._decode)
            if not self._decode.flag("clip_normalized_action", False):
                raise self._bad(self._decode.file, "clip_normalized_action must be true, got false")

    @property
    def index(self) -> int:
        """The index of the per-embodiment weights; lerobot takes 0 for an unknown tag."""
        numbers = self._pack.config.get("embodiment_mapping")
        if not isinstance(numbers, dict):
            raise self._bad(self._pack.file, "embodiment_mapping must be an object")
        if self.tag not in numbers:
            logger.warning(
                "%s: embodiment_mapping lacks %s; using 0, as lerobot does",
                self._pack.file,
                self.tag,
            )
        number: int = numbers.get(self.tag, 0)
        return number

    @property
    def libero_key(self) -> str | None:
        """The action key whose last value is mapped to LIBERO's sign for open and closed."""
        wanted = self._config.get("action_decode_transform", "auto")
        if wanted == "auto":
            wanted = "libero" if self.tag == "libero_sim" else None
        if wanted in (None, "", "none"):
            return None
        if wanted != "libero":
            file = self._folder / "config.json"
            raise self._bad(file, f"action_decode_transform {wanted!r} is unknown")
        if not self._groups:
            return "action" if self._dim("output_features", "action") >= 7 else None
        if "gripper" not in self._keys("action"):
            raise self._bad(self._decode.file, "has no gripper, which LIBERO's transform needs")
        return "gripper"

    def horizon(self, model_steps: Any) -> int:
        """Steps of a chunk: the smallest value in the checkpoint's files."""
        steps = [model_steps, self._config.get("chunk_size"), self._config.get("n_action_steps")]
        if self._groups:
            steps.append(len(self._section("action").get("delta_indices") or []))
        given = [n for n in steps if isinstance(n, int) and not isinstance(n, bool) and n > 0]
        if not given:
            raise self._bad(self._folder / "config.json", "has no chunk_size")
        return min(given)

    def modality_configs(self, horizon: int) -> dict[str, dict[str, Any]]:
        """The modality configs in the form of Isaac-GR00T's processor_config.json."""
        language = self._pack.config.get("language_key", "task")
        frames = self._pack.config.get("video_horizon") or 1
        actions: dict[str, Any] = {"modality_keys": ["action"]}
        states = ["state"]
        if self._groups:
            section = self._section("action")
            actions = {"modality_keys": self._keys("action")}
            if section.get("action_configs"):
                actions["action_configs"] = section["action_configs"]
            states = self._keys("state")
            named = self._modality_config.get("language")
            if isinstance(named, dict) and named.get("modality_keys"):
                language = named["modality_keys"][0]
        return {
            # lerobot fills a history of frames with the present one.
            "video": {"delta_indices": [0] * frames, "modality_keys": self._cameras()},
            "state": {"delta_indices": [0], "modality_keys": states},
            "action": {"delta_indices": list(range(horizon)), **actions},
            "language": {"delta_indices": [0], "modality_keys": [language]},
        }

    def statistics(self, horizon: int) -> dict[str, dict[str, Any]]:
        """The statistics in the form of Isaac-GR00T's statistics.json, min and max only."""
        state = self._bounds_of_state()
        if not self._groups:
            action = self._bounds(self._decode, "action")
            self._check_dim("output_features", "action", len(action[0]))
            return {"state": {"state": _entry(*state)}, "action": {"action": _entry(*action)}}
        raw = self._raw_stats(self._decode)
        names = ("q01", "q99") if self._decode.flag("use_percentiles", False) else ("min", "max")
        found: dict[str, dict[str, Any]] = {
            "state": self._states_by_group(*state),
            "action": {},
            "relative_action": {},
        }
        for key in self._keys("action"):
            found["action"][key] = self._group_entry(raw, "action", key, names)
        relative = raw.get("relative_action")
        for key in relative if isinstance(relative, dict) else ():
            entry = self._group_entry(raw, "relative_action", key, ("min", "max"))
            found["relative_action"][key] = {
                name: bounds[:horizon] if np.ndim(bounds) == 2 else bounds
                for name, bounds in entry.items()
            }
        sizes = [len(entry["min"]) for entry in found["action"].values()]
        self._check_dim("output_features", "action", sum(sizes))
        return found

    def _states_by_group(self, low: Any, high: Any) -> dict[str, Any]:
        """The bounds of the state vector, divided into its groups."""
        raw, entries, begin = self._raw_stats(self._pack), {}, 0
        for key in self._keys("state"):
            end = begin + self._group_size(raw, key)
            entries[key] = _entry(low[begin:end], high[begin:end])
            begin = end
        if begin != len(low):
            raise self._bad(
                self._pack.file, f"its state groups have {begin} values, the state has {len(low)}"
            )
        return entries

    def _group_size(self, raw: Mapping[str, Any], key: str) -> int:
        entry = raw.get("state", {}).get(key)
        for name in ("mean", "min", "q01") if isinstance(entry, dict) else ():
            if entry.get(name):
                return len(entry[name])
        raise self._bad(self._pack.file, f"raw_stats.state.{key} is missing")

    def _group_entry(
        self, raw: Mapping[str, Any], modality: str, key: str, names: tuple[str, str]
    ) -> dict[str, Any]:
        entry = raw.get(modality, {}).get(key)
        if not isinstance(entry, dict) or any(name not in entry for name in names):
            what = f"raw_stats.{modality}.{key} lacks {' or '.join(names)}"
            raise self._bad(self._decode.file, what)
        low, high = (np.asarray(entry[name], dtype=np.float32) for name in names)
        return _entry(low, high)

    def _bounds_of_state(self) -> tuple[Any, Any]:
        low, high = self._bounds(self._pack, "observation.state")
        self._check_dim("input_features", "observation.state", len(low))
        return low, high

    def _bounds(self, step: ProcessorStep, key: str) -> tuple[Any, Any]:
        try:
            return step.state[f"{key}.min"].ravel(), step.state[f"{key}.max"].ravel()
        except KeyError as error:
            what = f"the state_file of its step lacks {error.args[0]}, which are the statistics"
            raise self._bad(step.file, what) from None

    def _cameras(self) -> list[str]:
        available = camera_keys(self._config)
        ordered = self._pack.config.get("video_modality_keys") or []
        # The wrist camera of LIBERO's datasets has another name in its checkpoints.
        known = {*available, *(["wrist_image"] if "image2" in available else [])}
        cameras = [key for key in ordered if key in known] or available
        if not cameras:
            raise self._bad(self._folder / "config.json", f"has no camera ({IMAGES}…)")
        missing = [key for key in ordered if key not in cameras]
        if missing:
            logger.warning(
                "%s: config.json has no camera %s, only %s", self._pack.file, missing, cameras
            )
        return cameras

    @property
    def _modality_config(self) -> Mapping[str, Any]:
        config = self._decode.config.get("modality_config")
        if not isinstance(config, dict):
            raise self._bad(self._decode.file, f"{DECODE} has no modality_config")
        return config

    def _section(self, modality: str) -> Mapping[str, Any]:
        section = self._modality_config.get(modality)
        if not isinstance(section, dict):
            raise self._bad(self._decode.file, f"modality_config has no {modality}")
        return section

    def _keys(self, modality: str) -> list[str]:
        keys = self._section(modality).get("modality_keys")
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise self._bad(self._decode.file, f"modality_config.{modality} has no modality_keys")
        return keys

    def _raw_stats(self, step: ProcessorStep) -> Mapping[str, Any]:
        raw = step.config.get("raw_stats")
        if not isinstance(raw, dict):
            raise self._bad(step.file, "has no raw_stats for its groups")
        return raw

    def _dim(self, features: str, key: str) -> int:
        """The number of values of a vector in config.json; 0 if it is absent."""
        try:
            return int(self._config[features][key]["shape"][0])
        except (KeyError, TypeError, IndexError):
            return 0

    def _check_dim(self, features: str, key: str, found: int) -> None:
        dim = self._dim(features, key)
        if dim and dim != found:
            file = self._folder / "config.json"
            raise self._bad(file, f"{key} has {dim} values, its statistics have {found}")

    def _bad(self, file: Path, problem: str) -> CheckpointError:
        return CheckpointError(file, problem)


def _entry(low: Any, high: Any) -> dict[str, Any]:
    bounds = {"min": low, "max": high}
    return {name: np.asarray(values, np.float64).tolist() for name, values in bounds.items()}
