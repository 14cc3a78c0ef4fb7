# SPDX-License-Identifier: Apache-2.0
"""`ModelPolicy`: a model behind the interface of every policy."""

from __future__ import annotations

import gc
import itertools
import logging
import time
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gr00t_policy_core.embodiment import EmbodimentTag
from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.models.common.camera_sizes import check_camera_sizes
from gr00t_policy_core.models.common.cuda_graphs import Capturer
from gr00t_policy_core.models.common.devices import on_device
from gr00t_policy_core.models.common.execution_settings import ExecutionSettings, batch_sizes
from gr00t_policy_core.models.common.float8 import check_device, use_float8
from gr00t_policy_core.models.common.model import Model
from gr00t_policy_core.models.common.model_inputs import Inputs, filled
from gr00t_policy_core.models.common.options import InferenceOptions, clipped_steps, read_options
from gr00t_policy_core.models.common.prompts import length_problem
from gr00t_policy_core.models.common.relative import reference_problem
from gr00t_policy_core.models.common.runner import MAX_BATCH_ROWS, Runner
from gr00t_policy_core.models.common.stopwatch import Stopwatch
from gr00t_policy_core.models.common.synthetic import DEFAULT_IMAGE_SIZE, synthetic_observation
from gr00t_policy_core.models.common.token_batch import ImageGrid
from gr00t_policy_core.models.common.transfer import send
from gr00t_policy_core.policy import (
    ABSOLUTE_ACTIONS,
    Action,
    BatchRule,
    BatchWithoutOptions,
    Info,
    ModalityPolicy,
    Observation,
    Options,
)
from gr00t_policy_core.resize import Size

DEFAULT_SETTINGS = ExecutionSettings()

logger = logging.getLogger(__name__)


class ModelPolicy(ModalityPolicy):
    """A model of any line, wherever it comes from.

    Args:
        model: With its weights.
        device: Where the weights are.
        dtype: Of the weights.
        settings: How the networks are run.
        strict: Check every observation before it is used and every action before it is returned.
        float8: Put layers into float8 (`gr00t_policy_core.models.common.float8`); the weights are
            bfloat16 then.
        record: How calls are recorded, with `settings.cuda_graphs`; CUDA graphs by default.

    Raises:
        SpecError: A setting that does not work here.
    """

    def __init__(
        self,
        model: Model,
        device: torch.device,
        dtype: torch.dtype,
        settings: ExecutionSettings = DEFAULT_SETTINGS,
        *,
        strict: bool = True,
        float8: bool = False,
        record: Capturer | None = None,
    ) -> None:
        super().__init__(strict)
        self.settings = settings.resolved(device)
        self.float8_layers = 0
        if float8:
            check_device(device)
            self.float8_layers = use_float8(model)
        self.runner = Runner(model, device, dtype, self.settings, record)
        self.model = model
        self.embodiment = model.embodiment
        self.device = device
        self.dtype = dtype

    @property
    def modality_configs(self) -> dict[str, ModalityConfig]:
        """As `get_modality_config`; under the name that it has in Isaac-GR00T's policy."""
        return self.get_modality_config()

    @property
    def language_key(self) -> str:
        """The key of the instruction in an observation."""
        return self.embodiment.modalities["language"].modality_keys[0]

    @property
    def embodiment_tag(self) -> EmbodimentTag | str:
        """The robot's tag, as the checkpoint spells it where it is none of the published ones."""
        return EmbodimentTag.resolve(self.embodiment.tag)

    def warm_up(
        self, max_batch: int = 1, *, camera_sizes: Sequence[Mapping[str, Size] | Size] = ()
    ) -> float:
        """Answer made-up observations, so that no robot waits for what only a first answer takes.

        The libraries of a GPU begin to work then, and the networks are compiled and recorded where
        that is in force: for each size that batches are filled up to. What there is by then is not
        looked at for garbage any more: with torch and transformers loaded that is 350 000 objects,
        and stops all of Python for 0.1 s (measured).

        Args:
            max_batch: Rows of the largest batch that will be asked for.
            camera_sizes: Of each robot that is to be answered, the height and width of its frames,
                of all cameras or by camera: the number of tokens follows from them, and what is
                made for one is of no use to another. None: one robot, of 480 x 640.

        Returns:
            How long it took, in s.

        Raises:
            SpecError: Sizes that the model cannot answer together, or of unknown cameras.
        """
        begun_s = time.monotonic()
        self.runner.add_batch_size(max_batch)
        sizes = batch_sizes(max_batch) if self.runner.pads_batches else (1,)
        robots = camera_sizes or (DEFAULT_IMAGE_SIZE,)
        for robot in robots:  # whatever is refused is so before anything is computed
            self.image_grid(self.synthetic_observation(1, robot))
        for robot, size in itertools.product(robots, sizes):
            self.prepare(self.synthetic_observation(size, robot))
        in_force = ", ".join(f"{name} {value}" for name, value in self.in_force().items())
        logger.info("%s; recorded and compiled are batches of %s rows", in_force, sizes)
        gc.collect()
        gc.freeze()
        return time.monotonic() - begun_s

    def prepare(self, observation: Observation) -> None:
        """Answer an observation, and record and compile for its shapes before this returns."""
        with self.runner.queue.at_once():
            self._get_action(observation)

    def in_force(self) -> dict[str, str | int | bool | None]:
        """How the networks are run, as far as that can be chosen."""
        return {
            "device": str(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "float8_layers": self.float8_layers,
            "mask_padding": self.settings.mask_padding,
            "cuda_graphs": self.runner.records,
            "compile": self.settings.compile,
            "device_images": self.settings.device_images,
        }

    def synthetic_observation(
        self, batch: int = 1, camera_sizes: Mapping[str, Size] | Size = DEFAULT_IMAGE_SIZE
    ) -> Observation:
        """An observation of this policy's layout, of noise; always the same.

        Args:
            batch: B, the number of rows.
            camera_sizes: Height and width of the frames, of all cameras or by camera.
        """
        return synthetic_observation(
            self.get_modality_config(), self.get_dimensions()["state"], batch, camera_sizes
        )

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return dict(self.embodiment.modalities)

    @property
    def max_batch_size(self) -> int:
        return MAX_BATCH_ROWS

    def batch_key(self, observation: Observation, options: Options | None) -> Hashable | None:
        """None with a seed or real-time chunking; else the prompts' length, where it matters.

        That is with the tokens of the pictures, whose number follows from the size of the frames.

        The noise of a seed is drawn for the whole batch, so a row's depends on its company. And
        where padding is attended to, an answer is only the same beside prompts as long as its own.
        """
        if options:
            return None
        if self._ignores_padding:
            return ()
        pictures = self.image_grid(observation)
        backbone = self.model.backbone
        texts = set(self.instructions(observation))
        lengths = {backbone.prompts([text], pictures).length for text in texts}
        return lengths.pop() if len(lengths) == 1 else None

    def get_batch_rule(self) -> BatchRule:
        """As `batch_key`; but without the tokenizer only one instruction, where that matters."""
        if self._ignores_padding:
            return BatchWithoutOptions()
        return BatchWithoutOptions(self.language_key)

    @property
    def _ignores_padding(self) -> bool:
        return self.settings.mask_padding or not self.model.head.config.attends_to_padding

    def get_capabilities(self) -> tuple[str, ...]:
        first = self.model.backbone.pipeline.first
        told = ("rtc", ABSOLUTE_ACTIONS)
        return told if first is None else (*told, first.capability)

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        return {
            "state": {key.name: key.dim for key in self.embodiment.states},
            "action": {key.name: key.dim for key in self.embodiment.actions},
        }

    def check_observation(self, observation: Observation) -> None:
        """Raise `SpecError` where keys, shapes, dtypes or the size of a state are not right.

        And where the pictures of the cameras do not become one size.
        """
        super().check_observation(observation)
        self.instructions(observation)
        self.image_grid(observation)
        problems = []
        for key in self.embodiment.states:
            state = observation["state"][key.name]
            if state.shape[-1] != key.dim:
                problems.append(
                    f"state.{key.name}: expected {key.dim} values a step, got {state.shape[-1]} "
                    f"(shape {state.shape})"
                )
            elif not np.isfinite(state).all():
                problems.append(f"state.{key.name}: has values that are not finite")
        for action in self.embodiment.actions:
            if action.relative is None or problems:
                continue
            reference = observation["state"][action.state_key][:, -1]
            problem = reference_problem(reference, action.relative)
            if problem is not None:
                problems.append(f"state.{action.state_key}: {problem}")
        if problems:
            raise SpecError("bad observation", problems)

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        """Answer an observation.

        Args:
            observation: As `get_action` of the base class says.
            options: ``{"seed": int}`` makes the answer reproducible: the initial noise is the first
                float32 normal draw of a CPU generator of that seed, of shape (B, action_horizon,
                max_action_dim). ``{"rtc": {"prefix": {key: float32 (B, overlap, D)},
                "frozen_steps": int, "ramp_rate": float}}`` continues the chunk in execution.
                ``{"num_inference_timesteps": int}``: steps of denoising, instead of the policy's.

        Returns:
            The action, and ``{"timing": {stage: seconds}}``. With real-time chunking ``"rtc":
            {"clipped": {key: float32 (B, frozen_steps, D)}}`` as well: how far frozen steps are
            from the prefix, see `clipped_steps`.
        """
        with torch.inference_mode(), on_device(self.device), self.runner.call():
            return self._answer(observation, options)

    def _answer(self, observation: Observation, options: Options | None) -> tuple[Action, Info]:
        watch = Stopwatch(self.device)
        given = self.inputs(observation, options, watch)
        features = self.runner.features(given.videos, given.tokens)
        watch.device_lap("backbone")
        normalized = self.runner.actions(
            features,
            given.tokens,
            given.state,
            given.noise,
            given.velocity_scale,
            given.options.denoising_steps,
        )
        watch.device_lap("head")
        answer = normalized[: given.rows].float().cpu().numpy()  # the one time that the host waits
        watch.resume()
        self._check_finite(answer)
        state, rtc = observation["state"], given.options.rtc
        action = self.embodiment.decode_action(answer, state)
        info: Info = {}
        if rtc is not None:
            info["rtc"] = {"clipped": clipped_steps(rtc, self.embodiment, state)}
        watch.lap("decode")
        return action, {"timing": watch.seconds(), **info}

    def _check_finite(self, answer: NDArray[np.float32]) -> None:
        if np.isfinite(answer).all():
            return
        if self.dtype == torch.float16:
            raise PolicyError(
                "float16 overflowed in the network (it ends at 65504): use bfloat16 or float32"
            )
        raise PolicyError("the network's answer is not finite: are its weights those of training?")

    def inputs(self, observation: Observation, options: Options | None, watch: Stopwatch) -> Inputs:
        """Everything that the networks read of an observation, on the device, in one copy."""
        frames = self.frames(observation)
        rows = len(frames)
        parsed = read_options(options, self.embodiment, rows)
        size = self.runner.padded_batch_size(rows)
        texts = self.instructions(observation)
        tokens = self.runner.tokens(
            texts + texts[-1:] * (size - rows), self.image_grid(observation)
        )
        watch.lap("prompts")
        values = self._host_values(parsed, observation["state"], rows)
        watch.lap("state")
        videos = self._videos(observation, frames)
        sent = send([*videos, *values], self.device)
        *seen, state, start = (filled(each, rows, size) for each in sent[: len(videos) + 2])
        scale = sent[-1] if len(values) > 2 else None
        watch.device_lap("images")
        return Inputs(rows, tokens, seen, state, start, scale, parsed)

    def frames(self, observation: Observation) -> list[list[Any]]:
        """The pictures of each row: by time, then by camera."""
        config = self.embodiment.modalities["video"]
        videos = [observation["video"][key] for key in config.modality_keys]
        steps = range(len(config.delta_indices))
        rows = range(len(videos[0]))
        return [[video[row, step] for step in steps for video in videos] for row in rows]

    def image_grid(self, observation: Observation) -> ImageGrid:
        """The tokens that the pictures of a row become.

        Raises:
            SpecError: The cameras' pictures would have different sizes, or a size that no model
                reads.
        """
        config = self.embodiment.modalities["video"]
        sizes = {key: observation["video"][key].shape[2:4] for key in config.modality_keys}
        backbone = self.model.backbone
        height, width = check_camera_sizes(sizes, backbone.pipeline)
        return backbone.grid(len(sizes) * len(config.delta_indices), height, width)

    def _videos(self, observation: Observation, frames: list[list[Any]]) -> list[Any]:
        """What is sent of the pictures: the frames of each camera, or all of them, resized."""
        if not self.settings.device_images:
            return [self.model.backbone.pictures(frames)]
        keys = self.embodiment.modalities["video"].modality_keys
        return [observation["video"][key] for key in keys]

    def instructions(self, observation: Observation) -> list[str]:
        """One for each row; a checkpoint with several keys was trained on paraphrases.

        Raises:
            SpecError: One is too long.
        """
        key = self.language_key
        empty = self.embodiment.empty_instruction
        texts = [prompts[0] or empty for prompts in observation["language"][key]]
        for text in texts:
            problem = length_problem(text)
            if problem is not None:
                raise SpecError("bad observation", [f"language.{key}: {problem}"])
        return texts

    def _host_values(
        self, options: InferenceOptions, state: Mapping[str, Any], rows: int
    ) -> list[Tensor]:
        """States, where denoising begins, and how much each step may move: as they are sent."""
        config = self.model.head.config
        encoded = torch.from_numpy(self.embodiment.encode_state(state, config.max_state_dim))
        start = noise(options.seed, (rows, config.action_horizon, config.max_action_dim))
        scale = torch.ones(config.action_horizon, 1)
        if options.rtc is not None:
            prefix = self.embodiment.encode_action(options.rtc.prefix, state, config.max_action_dim)
            start[:, : options.rtc.overlap_steps] = torch.from_numpy(prefix)
            scale = options.rtc.velocity_scale(config.action_horizon)
        values = [encoded, start]
        if (
            options.rtc is not None or self.runner.pads_batches
        ):  # one recording serves with and without
            values.append(scale)
        return [value.to(self.dtype) for value in values]


def noise(seed: int | None, shape: tuple[int, ...]) -> Tensor:
    """Standard normal float32 values, drawn on the host so that a seed means the same anywhere."""
    generator = torch.Generator(device="cpu")
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32)
