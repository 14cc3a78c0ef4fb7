# SPDX-License-Identifier: Apache-2.0
"""Loads the policy that the flags of `serve` describe; replicas load it in their own processes."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from gr00t_policy_core.cli.custom_policy import CustomPolicy
from gr00t_policy_core.cli.model_flags import execution_arguments
from gr00t_policy_core.embodiment import EmbodimentTag
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import ModalityConfig, modality_configs_from_json
from gr00t_policy_core.policies import ReplayPolicy
from gr00t_policy_core.policy import BasePolicy

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PolicyLoader:
    """Loads a policy; an instance can be pickled.

    Fields without an entry below are arguments of `Gr00tPolicy` or `ReplayPolicy`.

    Args:
        custom: A policy of the user's own; None for a model or a replay.
        model_path: The checkpoint; None for another policy.
        settings: The result of `execution_arguments`, which `Gr00tPolicy` takes.
        dataset_path: The dataset of a replay; None for another policy.
        modality_config_path: A JSON file of modality configs for a replay; None takes all keys.
        max_batch: The model is warmed up for batches of up to this number of rows.
        camera_size: Heights and widths of frames in pixels that the model is warmed up for.
        denoising_steps: The `num_inference_timesteps` of a model; None takes the checkpoint's.
    """

    model_path: str | None
    backbone_path: str | None
    embodiment_tag: EmbodimentTag | str
    device: str
    dtype: str | None
    settings: dict[str, Any]
    dataset_path: str | None
    modality_config_path: str | None
    execution_horizon: int | None
    strict: bool
    max_batch: int
    episode_index: int | None = None
    camera_size: Sequence[tuple[int, int]] = ()
    base_model_path: str | None = None
    denoising_steps: int | None = None
    custom: CustomPolicy | None = None

    @classmethod
    def of(cls, args: argparse.Namespace) -> PolicyLoader:
        """The loader for the arguments of a command line."""
        named = {field.name for field in fields(cls)} - {"settings", "custom"}
        given = {name: getattr(args, name) for name in named}
        custom = None
        if args.policy is not None:
            custom = CustomPolicy.in_current_folder(args.policy, dict(args.policy_args))
        return cls(**given, settings=execution_arguments(args), custom=custom)

    def anywhere(self) -> PolicyLoader:
        """The same loader with absolute paths, for a process with another working directory."""
        return replace(
            self,
            model_path=_absolute(self.model_path),
            backbone_path=_absolute(self.backbone_path),
            base_model_path=_absolute(self.base_model_path),
            dataset_path=_absolute(self.dataset_path),
            modality_config_path=_absolute(self.modality_config_path),
        )

    @property
    def uses_gpu(self) -> bool:
        """Whether the policy is a model on a GPU, or may be one."""
        is_model = self.model_path is not None and self.device.startswith("cuda")
        return is_model or self.custom is not None

    def __call__(self) -> BasePolicy:
        """Load the policy.

        Raises:
            PolicyError: A setting, a checkpoint or a dataset is wrong.
            ImportError: A package is not installed.
        """
        if self.custom is not None:
            return self._custom(self.custom)
        return self._replay() if self.model_path is None else self._model(self.model_path)

    def _custom(self, custom: CustomPolicy) -> BasePolicy:
        policy = custom.make()
        policy.strict = policy.strict and self.strict
        return policy

    def _replay(self) -> BasePolicy:
        if self.dataset_path is None:
            raise SpecError("no policy", ["set model_path or dataset_path"])
        return ReplayPolicy(
            self.dataset_path,
            _modality_configs(self.modality_config_path),
            self.execution_horizon,
            episode_index=self.episode_index,
            strict=self.strict,
        )

    def _model(self, model_path: str) -> BasePolicy:
        from gr00t_policy_core.models import Gr00tPolicy

        policy = Gr00tPolicy(
            self.embodiment_tag,
            model_path,
            device=self.device,
            dtype=self.dtype,
            backbone_path=self.backbone_path,
            base_model_path=self.base_model_path,
            num_inference_timesteps=self.denoising_steps,
            **self.settings,
            strict=self.strict,
        )
        duration_s = policy.warm_up(self.max_batch, camera_sizes=self.camera_size)
        logger.info("the warm-up of the model took %.1f s", duration_s)
        return policy


def _modality_configs(path: str | None) -> dict[str, ModalityConfig] | None:
    if path is None:
        return None
    if not path.endswith(".json"):
        raise SpecError("bad --modality-config-path", [f"must be a .json file, got {path}"])
    try:
        return modality_configs_from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except ValueError as error:
        raise SpecError("bad --modality-config-path", [f"{path}: {error}"]) from error


def _absolute(path: str | None) -> str | None:
    """The absolute path of an existing file; any other text, such as a hub id, is unchanged."""
    return path if path is None or not Path(path).exists() else str(Path(path).absolute())
