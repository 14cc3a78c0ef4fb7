# SPDX-License-Identifier: Apache-2.0
"""How `serve` makes its policy, as data: replicas make it in processes of their own."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from gr00t_policy_core.cli.model_flags import execution_arguments
from gr00t_policy_core.embodiment import EmbodimentTag
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import ModalityConfig, modality_configs_from_json
from gr00t_policy_core.policies import ReplayPolicy
from gr00t_policy_core.policy import BasePolicy

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PolicyLoader:
    """Makes the policy that flags of `serve` describe; the fields are those flags.

    Exactly one of `model_path` and `dataset_path` is given. `settings` are further flags of models
    (`execution_arguments`); a model is made ready for batches of up to `max_batch` rows, and for frames
    of each `camera_size`, height and width.
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
    camera_size: Sequence[tuple[int, int]] = ()
    base_model_path: str | None = None
    denoising_steps: int | None = None

    @classmethod
    def of(cls, args: argparse.Namespace) -> PolicyLoader:
        """Take them from the command line."""
        named = {field.name for field in fields(cls)} - {"settings"}
        given = {name: getattr(args, name) for name in named}
        return cls(**given, settings=execution_arguments(args))

    def anywhere(self) -> PolicyLoader:
        """The same for processes with another working directory: local paths made absolute."""
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
        """Whether it wants a GPU."""
        return self.model_path is not None and self.device.startswith("cuda")

    def __call__(self) -> BasePolicy:
        """Make it.

        Raises:
            PolicyError: A setting, a file or a dataset is not right.
            ImportError: A package is missing.
        """
        return self._replay() if self.model_path is None else self._model(self.model_path)

    def _replay(self) -> BasePolicy:
        if self.dataset_path is None:
            raise SpecError("no policy", ["neither model_path nor dataset_path is given"])
        return ReplayPolicy(
            self.dataset_path,
            _modality_configs(self.modality_config_path),
            self.execution_horizon,
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
        taken_s = policy.warm_up(self.max_batch, camera_sizes=self.camera_size)
        logger.info("getting the model ready took %.1f s", taken_s)
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
    """Of what is there; else it is an id on the hub, or a mistake to be named as it was made."""
    return path if path is None or not Path(path).exists() else str(Path(path).absolute())
