# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.7 as LeRobot saves it: ``type: groot`` of lerobot 0.6, what `lerobot-train` leaves.

The architecture is that of the base model, which the checkpoint only names. What is done to
observations and actions stands in the steps of its two processors; everything here is read from
them, as lerobot 0.6.1 reads it, into what a checkpoint of Isaac-GR00T says (`Checkpoint`).

State and action are vectors in LeRobot. Where the checkpoint divides them into groups, those are
the keys of the policy; else there is one key, ``state`` and ``action``.
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
    Step,
    check_normalized,
    one_of,
    read_steps,
)
from gr00t_policy_core.models.common.weight_files import StoredTensor, find_weights

TYPE = "groot"
PREFIX = "_groot_model."
IMAGES = "observation.images."
EMPTY_INSTRUCTION = "Perform the task."  # what lerobot reads an empty one as
EMBEDDING = "backbone.model.model.language_model.embed_tokens.weight"
OUTPUT_LAYER = "backbone.model.lm_head.weight"  # the same weights, tied

logger = logging.getLogger(__name__)


def check_type(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` where LeRobot's config.json is of a policy that is not run here."""
    kind = config["type"]
    if kind != TYPE:
        raise CheckpointError(
            folder / "config.json",
            f"is of LeRobot's policy type {kind!r}; of LeRobot's policies only {TYPE!r} runs here, "
            "others are served by LeRobot itself",
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
    """A checkpoint of LeRobot.

    Args:
        folder: Where it is.
        config: Its config.json, after `check_type`.
        base_config: config.json of the base model.
        tensors: Its weights, under the names of Isaac-GR00T; None reads them from the folder.

    Raises:
        CheckpointError: Naming what is missing or not supported.
    """
    before = read_steps(folder / PREPROCESSOR, (PACK, ENCODE))
    after = read_steps(folder / POSTPROCESSOR, (DECODE, UNNORMALIZE))
    pack, encode = one_of(before, folder / PREPROCESSOR, PACK), before.get(ENCODE)
    if encode is None:
        raise CheckpointError(folder / PREPROCESSOR, f"has no step {ENCODE}")
    check_normalized(pack)
    robot = _Robot(folder, config, pack, after)
    architecture = {**base_config, "model_name": encode.config.get("model_name")}
    if architecture["model_name"] is None:
        del architecture["model_name"]
    if config.get("num_inference_timesteps") is not None:
        architecture["num_inference_timesteps"] = config["num_inference_timesteps"]
    horizon = robot.horizon(architecture.get("action_horizon"))
    return Checkpoint(
        folder=folder,
        config=architecture,
        processor={
            "modality_configs": {robot.tag: robot.modality_configs(horizon)},
            "clip_outliers": pack.flag("clip_outliers", True),
            "use_relative_action": robot.relative,
            "use_percentiles": False,  # they are in the statistics as min and max already
            "formalize_language": pack.flag("formalize_language", True),
        },
        processor_folder=folder,
        statistics={robot.tag: robot.statistics(horizon)},
        embodiment_ids={robot.tag: robot.index},
        tensors=isaac_names(find_weights(folder)) if tensors is None else tensors,
        kind="LeRobot checkpoint of GR00T N1.7",
        lerobot=LeRobotProcessing(encode.config, robot.libero_key, EMPTY_INSTRUCTION),
    )


def isaac_names(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Weights under the names that Isaac-GR00T gives them."""
    found = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    if EMBEDDING not in found and OUTPUT_LAYER in found:
        found[EMBEDDING] = found[OUTPUT_LAYER]
    return found


def camera_keys(config: Mapping[str, Any]) -> list[str]:
    """The cameras of config.json, as the policy calls them, by name."""
    features = config.get("input_features")
    names = features if isinstance(features, dict) else {}
    return sorted(name.removeprefix(IMAGES) for name in names if name.startswith(IMAGES))


class _Robot:
    """What the steps say about the one robot of a checkpoint.

    Args:
        folder: Of the checkpoint.
        config: config.json.
        pack: The step that packs observations.
        after: The steps that decode actions: one of two kinds.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        pack: Step,
        after: Mapping[str, Step],
    ) -> None:
        self._folder = folder
        self._config = config
        self._pack = pack
        self._groups = DECODE in after
        self._decode = one_of(after, folder / POSTPROCESSOR, DECODE, UNNORMALIZE)
        self.tag = str(pack.config.get("embodiment_tag", "new_embodiment"))
        self.relative = self._groups and self._decode.flag("use_relative_action", False)
        if not self._groups:
            check_normalized(self._decode)
            if not self._decode.flag("clip_normalized_action", False):
                raise self._bad(self._decode.file, "clip_normalized_action must be true, got false")

    @property
    def index(self) -> int:
        """Which of the per-embodiment weights; lerobot takes 0 for a tag that it does not know."""
        numbers = self._pack.config.get("embodiment_mapping")
        if not isinstance(numbers, dict):
            raise self._bad(self._pack.file, "embodiment_mapping must be an object")
        if self.tag not in numbers:
            logger.warning("%s: %s has no number, lerobot takes 0", self._pack.file, self.tag)
        number: int = numbers.get(self.tag, 0)
        return number

    @property
    def libero_key(self) -> str | None:
        """The action whose last value is turned into LIBERO's sign for open and closed."""
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
            raise self._bad(self._decode.file, "has no gripper, which libero's transform needs")
        return "gripper"

    def horizon(self, model_steps: Any) -> int:
        """Steps of a chunk: the least of what each part of the checkpoint says."""
        steps = [model_steps, self._config.get("chunk_size"), self._config.get("n_action_steps")]
        if self._groups:
            steps.append(len(self._section("action").get("delta_indices") or []))
        given = [n for n in steps if isinstance(n, int) and not isinstance(n, bool) and n > 0]
        if not given:
            raise self._bad(self._folder / "config.json", "has no chunk_size")
        return min(given)

    def modality_configs(self, horizon: int) -> dict[str, dict[str, Any]]:
        """As processor_config.json of Isaac-GR00T has them."""
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
            # lerobot fills a history of frames up with the present one.
            "video": {"delta_indices": [0] * frames, "modality_keys": self._cameras()},
            "state": {"delta_indices": [0], "modality_keys": states},
            "action": {"delta_indices": list(range(horizon)), **actions},
            "language": {"delta_indices": [0], "modality_keys": [language]},
        }

    def statistics(self, horizon: int) -> dict[str, dict[str, Any]]:
        """As statistics.json of Isaac-GR00T has them, min and max only."""
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
        """The vector's bounds, divided into groups one after the other."""
        raw, entries, begin = self._raw_stats(self._pack), {}, 0
        for key in self._keys("state"):
            end = begin + self._group_size(raw, key)
            entries[key] = _entry(low[begin:end], high[begin:end])
            begin = end
        if begin != len(low):
            raise self._bad(
                self._pack.file, f"its groups of states have {begin} values, the state {len(low)}"
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

    def _bounds(self, step: Step, key: str) -> tuple[Any, Any]:
        try:
            return step.state[f"{key}.min"].ravel(), step.state[f"{key}.max"].ravel()
        except KeyError as error:
            what = f"the state_file of its step has no {error.args[0]}: no statistics to go by"
            raise self._bad(step.file, what) from None

    def _cameras(self) -> list[str]:
        available = camera_keys(self._config)
        ordered = self._pack.config.get("video_modality_keys") or []
        # The wrist camera of LIBERO's data sets has another name than in its checkpoints.
        known = {*available, *(["wrist_image"] if "image2" in available else [])}
        cameras = [key for key in ordered if key in known] or available
        if not cameras:
            raise self._bad(self._folder / "config.json", f"has no camera ({IMAGES}…)")
        missing = [key for key in ordered if key not in cameras]
        if missing:
            logger.warning(
                "%s: there is no camera %s; the cameras are %s", self._pack.file, missing, cameras
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

    def _raw_stats(self, step: Step) -> Mapping[str, Any]:
        raw = step.config.get("raw_stats")
        if not isinstance(raw, dict):
            raise self._bad(step.file, "has no raw_stats for its groups")
        return raw

    def _dim(self, features: str, key: str) -> int:
        """Values of a vector, from config.json; 0 where that does not say."""
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
