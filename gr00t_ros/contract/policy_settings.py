# SPDX-License-Identifier: Apache-2.0
"""The settings of the policy. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

WHEN_FLAGS = {"auto": None, "always": True, "never": False}


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """A model in this process: the arguments of `gr00t_policy_core.models.Gr00tPolicy`."""

    embodiment_tag: str
    model_path: str
    device: str
    dtype: str | None
    backbone_path: str | None
    base_model_path: str | None
    num_inference_timesteps: int | None
    mask_padding: bool
    cuda_graphs: bool | None
    compile: str | None
    device_images: bool | None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ModelSettings:
        """Make it from the values of all parameters, already checked one by one."""
        return cls(
            embodiment_tag=settings["policy.embodiment_tag"],
            model_path=settings["policy.model_path"],
            device=settings["policy.device"],
            dtype=settings["policy.dtype"] or None,
            backbone_path=settings["policy.backbone_path"] or None,
            base_model_path=settings["policy.base_model_path"] or None,
            num_inference_timesteps=settings["policy.denoising_steps"] or None,
            mask_padding=settings["policy.mask_padding"],
            cuda_graphs=WHEN_FLAGS[settings["policy.cuda_graphs"]],
            compile=settings["policy.compile"] or None,
            device_images=WHEN_FLAGS[settings["policy.device_images"]],
        )


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Where the policy runs, and how images travel there.

    `hosts` is empty where there is only `host`; `token`, `server_key` and `keys` are None where the
    server requires none; `robot_name` is empty where the user gave no name. Backend ``local`` runs
    `model`, prepared for frames of `camera_sizes` (height and width by camera in px, if known); the
    other fields are for ``server``.
    """

    backend: str
    host: str
    port: int
    hosts: tuple[str, ...]
    token: str | None
    server_key: str | None
    keys: str | None
    robot_name: str
    image_encoding: str
    quality: int
    resize: bool
    timeout_s: float
    model: ModelSettings
    camera_sizes: Mapping[str, tuple[int, int]]

    @classmethod
    def of(
        cls, settings: Mapping[str, Any], camera_sizes: Mapping[str, tuple[int, int]]
    ) -> PolicySettings:
        """Make it from the values of all parameters, already checked one by one."""
        return cls(
            backend=settings["policy.backend"],
            host=settings["policy.host"],
            port=settings["policy.port"],
            hosts=tuple(settings["policy.hosts"]),
            token=settings["policy.token"] or None,
            server_key=settings["policy.server_key"] or None,
            keys=settings["policy.keys"] or None,
            robot_name=settings["policy.robot_name"],
            image_encoding=settings["policy.image_encoding"],
            quality=settings["policy.quality"],
            resize=settings["policy.resize"],
            timeout_s=float(settings["policy.timeout_s"]),
            model=ModelSettings.of(settings),
            camera_sizes=camera_sizes,
        )


def policy_problems(settings: PolicySettings) -> Iterator[str]:
    """Yield a sentence for each contradiction that can be found without loading a model."""
    model = settings.model
    if settings.backend != "local":
        return
    if not model.model_path:
        yield (
            "policy.model_path: backend local needs a checkpoint, its folder or its id on the "
            "Hugging Face hub"
        )
    if not model.device:
        yield "policy.device: backend local needs one, such as cuda, cuda:1 or cpu"
    elif model.cuda_graphs and not model.device.startswith("cuda"):
        yield (
            f"policy.cuda_graphs: always needs a GPU, policy.device is {model.device!r}; make that "
            "cuda, or leave policy.cuda_graphs out"
        )
