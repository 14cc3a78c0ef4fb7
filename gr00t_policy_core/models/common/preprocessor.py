# SPDX-License-Identifier: Apache-2.0
"""`Preprocessor`: the inputs of a model's networks, from observations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.camera_sizes import check_camera_sizes
from gr00t_policy_core.models.common.model import Model
from gr00t_policy_core.models.common.model_inputs import (
    DenoisingInputs,
    VisionInputs,
    pad_rows,
)
from gr00t_policy_core.models.common.options import InferenceOptions
from gr00t_policy_core.models.common.prompts import length_problem
from gr00t_policy_core.models.common.runner import Runner
from gr00t_policy_core.models.common.stopwatch import Stopwatch
from gr00t_policy_core.models.common.token_batch import ImageGrid
from gr00t_policy_core.models.common.transfer import copy_to_device
from gr00t_policy_core.policy import Observation


class Preprocessor:
    """Prepares the inputs of a model's networks and copies them to the device.

    Every method takes an observation that `ModelPolicy.check_observation` accepts.

    Args:
        model: The networks, and the embodiment that they serve.
        runner: Caches prompts, and says to which size batches are padded.
        device: The device of the networks.
        dtype: The dtype of the networks.
        device_images: Whether the device resizes the images.
    """

    def __init__(
        self,
        model: Model,
        runner: Runner,
        device: torch.device,
        dtype: torch.dtype,
        *,
        device_images: bool,
    ) -> None:
        self._model = model
        self._embodiment = model.embodiment
        self._runner = runner
        self._device = device
        self._dtype = dtype
        self._device_images = device_images

    def vision_inputs(self, observation: Observation, watch: Stopwatch) -> VisionInputs:
        """Prepare the inputs of the backbone and copy them to the device in one transfer.

        Args:
            observation: An observation that `check_observation` accepts.
            watch: Receives the laps ``prompts`` and ``images``.

        Raises:
            SpecError: An instruction is too long.
        """
        texts = self.instructions(observation)
        rows = len(texts)
        batch_size = self._runner.padded_batch_size(rows)
        tokens = self._runner.token_batch(
            texts + texts[-1:] * (batch_size - rows), self.image_grid(observation)
        )
        watch.lap("prompts")
        copied = copy_to_device(self.videos(observation), self._device)
        videos = [pad_rows(video, rows, batch_size) for video in copied]
        watch.device_lap("images")
        return VisionInputs(rows, batch_size, tokens, videos)

    def denoising_inputs(
        self, observation: Observation, options: InferenceOptions, vision: VisionInputs
    ) -> DenoisingInputs:
        """Prepare the inputs of the action head, and copy them to the device in one transfer.

        Args:
            observation: The observation of `vision`.
            options: The checked options of the call.
            vision: The inputs of the backbone for the same observation.
        """
        values = self._host_values(options, observation["state"], vision.rows)
        state, noise, *scale = copy_to_device(values, self._device)
        return DenoisingInputs(
            pad_rows(state, vision.rows, vision.batch_size),
            pad_rows(noise, vision.rows, vision.batch_size),
            scale[0] if scale else None,
        )

    def frames(self, observation: Observation) -> list[list[Any]]:
        """The camera frames of each row, by time, then by camera."""
        config = self._embodiment.modalities["video"]
        videos = [observation["video"][key] for key in config.modality_keys]
        steps = range(len(config.delta_indices))
        rows = range(len(videos[0]))
        return [[video[row, step] for step in steps for video in videos] for row in rows]

    def image_grid(self, observation: Observation) -> ImageGrid:
        """The image tokens of a row.

        Raises:
            SpecError: The cameras' images end up in different sizes, or a frame has a size that
                models do not accept.
        """
        config = self._embodiment.modalities["video"]
        sizes = {key: observation["video"][key].shape[2:4] for key in config.modality_keys}
        backbone = self._model.backbone
        height, width = check_camera_sizes(sizes, backbone.pipeline)
        return backbone.grid(len(sizes) * len(config.delta_indices), height, width)

    def videos(self, observation: Observation) -> list[Any]:
        """The frames of each camera; images resized on the host without `device_images`."""
        if not self._device_images:
            return [self._model.backbone.images(self.frames(observation))]
        keys = self._embodiment.modalities["video"].modality_keys
        return [observation["video"][key] for key in keys]

    def instructions(self, observation: Observation) -> list[str]:
        """The instruction of each row.

        A checkpoint with several language keys was trained on paraphrases; the first key counts.

        Raises:
            SpecError: An instruction is too long.
        """
        key = self._embodiment.modalities["language"].modality_keys[0]
        empty = self._embodiment.empty_instruction
        texts = [prompts[0] or empty for prompts in observation["language"][key]]
        for text in texts:
            problem = length_problem(text)
            if problem is not None:
                raise SpecError("bad observation", [f"language.{key}: {problem}"])
        return texts

    def _host_values(
        self, options: InferenceOptions, state: Mapping[str, Any], rows: int
    ) -> list[Tensor]:
        """The normalized state, the start of denoising and, if needed, the velocity scale."""
        config = self._model.head.config
        encoded = torch.from_numpy(self._embodiment.encode_state(state, config.max_state_dim))
        start = initial_noise(options.seed, (rows, config.action_horizon, config.max_action_dim))
        scale = torch.ones(config.action_horizon, 1)
        if options.rtc is not None:
            prefix = self._embodiment.encode_action(
                options.rtc.prefix, state, config.max_action_dim
            )
            start[:, : options.rtc.overlap_steps] = torch.from_numpy(prefix)
            scale = options.rtc.velocity_scale(config.action_horizon)
        values = [encoded, start]
        if (
            options.rtc is not None or self._runner.pads_batches
        ):  # one recording serves with and without
            values.append(scale)
        return [value.to(self._dtype) for value in values]


def initial_noise(seed: int | None, shape: tuple[int, ...]) -> Tensor:
    """Standard normal float32 values, drawn on the host so that a seed gives the same everywhere.

    Args:
        seed: Seed of the generator; None takes a random one.
        shape: (B, action_horizon, max_action_dim).
    """
    generator = torch.Generator(device="cpu")
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32)
