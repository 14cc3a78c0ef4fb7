# SPDX-License-Identifier: Apache-2.0
"""`ModelPolicy`: a model of any line as a policy."""

from __future__ import annotations

import gc
import itertools
import logging
import time
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from gr00t_policy_core.embodiment import EmbodimentTag
from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.models.common.cuda_graphs import Capturer
from gr00t_policy_core.models.common.devices import on_device
from gr00t_policy_core.models.common.execution_settings import ExecutionSettings, batch_sizes
from gr00t_policy_core.models.common.float8 import check_device, use_float8
from gr00t_policy_core.models.common.model import Model
from gr00t_policy_core.models.common.options import clipped_steps, read_options
from gr00t_policy_core.models.common.preprocessor import Preprocessor
from gr00t_policy_core.models.common.relative import reference_problem
from gr00t_policy_core.models.common.runner import MAX_BATCH_ROWS, Runner
from gr00t_policy_core.models.common.stopwatch import Stopwatch
from gr00t_policy_core.models.common.synthetic import DEFAULT_IMAGE_SIZE, synthetic_observation
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
    """A model of any line as a policy, with weights from a checkpoint or random ones.

    Args:
        model: The networks, with their weights on `device`.
        device: The device of the weights.
        dtype: The dtype of the weights; bfloat16 for `float8`.
        settings: How the networks are executed.
        strict: Check every observation before it is used and every action before it is returned.
        float8: Convert layers to float8, in place; see `gr00t_policy_core.models.common.float8`.
        capturer: Captures calls. None captures CUDA graphs if `settings` ask for them.

    Raises:
        SpecError: The device does not support a setting.
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
        capturer: Capturer | None = None,
    ) -> None:
        super().__init__(strict)
        self.settings = settings.resolved(device)
        self.float8_layers = 0
        if float8:
            check_device(device)
            self.float8_layers = use_float8(model)
        self.runner = Runner(model, device, dtype, self.settings, capturer)
        self.preprocessor = Preprocessor(
            model, self.runner, device, dtype, device_images=bool(self.settings.device_images)
        )
        self.model = model
        self.embodiment = model.embodiment
        self.device = device
        self.dtype = dtype

    @property
    def modality_configs(self) -> dict[str, ModalityConfig]:
        """The result of `get_modality_config`, under the name that Isaac-GR00T's policy has."""
        return self.get_modality_config()

    @property
    def language_key(self) -> str:
        """The language key of the instruction."""
        return self.embodiment.modalities["language"].modality_keys[0]

    @property
    def embodiment_tag(self) -> EmbodimentTag | str:
        """The embodiment tag: a member of `EmbodimentTag`, or the checkpoint's own string."""
        return EmbodimentTag.resolve(self.embodiment.tag)

    def warm_up(
        self, max_batch: int = 1, *, camera_sizes: Sequence[Mapping[str, Size] | Size] = ()
    ) -> float:
        """Call the model with synthetic observations, so that no robot waits for a first call.

        That initializes the GPU's libraries, and compiles and captures the networks if the settings
        ask for it, for each size that batches are padded to. Afterwards `gc.freeze` exempts all
        present objects from garbage collection: with torch and transformers these are 350 000, and
        a collection stops all Python threads for 0.1 s (measured).

        Args:
            max_batch: Rows of the largest batch to prepare.
            camera_sizes: For each kind of robot the height and width of its frames in pixels, of
                all cameras or by camera. They determine the number of tokens, so a graph serves one
                of them only. Empty means one robot with frames of 480 x 640.

        Returns:
            The time that it took, in s.

        Raises:
            SpecError: The cameras' images end up in different sizes, or a camera is unknown.
        """
        begun_s = time.monotonic()
        self.runner.add_batch_size(max_batch)
        sizes = batch_sizes(max_batch) if self.runner.pads_batches else (1,)
        robots = camera_sizes or (DEFAULT_IMAGE_SIZE,)
        for robot in robots:  # reject a wrong size before the first computation
            self.preprocessor.image_grid(self.synthetic_observation(1, robot))
        for robot, size in itertools.product(robots, sizes):
            self.prepare(self.synthetic_observation(size, robot))
        settings = ", ".join(f"{name} {value}" for name, value in self.active_settings().items())
        logger.info("%s; ready for batches of %s rows", settings, sizes)
        gc.collect()
        gc.freeze()
        return time.monotonic() - begun_s

    def prepare(self, observation: Observation) -> None:
        """Call the model once, and finish compilation and captures for the observation's shapes."""
        with self.runner.queue.synchronous():
            self._get_action(observation)

    def active_settings(self) -> dict[str, str | int | bool | None]:
        """How the networks are executed; ``cuda_graphs`` is False after a failed capture."""
        return {
            "device": str(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "float8_layers": self.float8_layers,
            "mask_padding": self.settings.mask_padding,
            "cuda_graphs": self.runner.uses_cuda_graphs,
            "compile": self.settings.compile,
            "device_images": self.settings.device_images,
        }

    def synthetic_observation(
        self, batch: int = 1, camera_sizes: Mapping[str, Size] | Size = DEFAULT_IMAGE_SIZE
    ) -> Observation:
        """An observation of noise with this policy's keys and shapes; always the same.

        Args:
            batch: B, the number of rows.
            camera_sizes: Height and width of the frames in pixels, of all cameras or by camera.
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
        """None for a request with options; else the prompts' length in tokens, if it matters.

        The noise of a seed is drawn for a whole batch, so a row's noise depends on the other rows.
        And a network that attends to padding gives the same actions only beside prompts of the same
        length, which includes the image tokens.
        """
        if options:
            return None
        if self._ignores_padding:
            return ()
        grid = self.preprocessor.image_grid(observation)
        backbone = self.model.backbone
        texts = set(self.preprocessor.instructions(observation))
        lengths = {backbone.prompts([text], grid).length for text in texts}
        return lengths.pop() if len(lengths) == 1 else None

    def get_batch_rule(self) -> BatchRule:
        """A rule without the tokenizer: if padding matters, it joins equal instructions only."""
        if self._ignores_padding:
            return BatchWithoutOptions()
        return BatchWithoutOptions(self.language_key)

    @property
    def _ignores_padding(self) -> bool:
        return self.settings.mask_padding or not self.model.head.config.attends_to_padding

    def get_capabilities(self) -> tuple[str, ...]:
        first = self.model.backbone.pipeline.first_resize
        capabilities = ("rtc", ABSOLUTE_ACTIONS)
        return capabilities if first is None else (*capabilities, first.capability)

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        return {
            "state": {key.name: key.dim for key in self.embodiment.states},
            "action": {key.name: key.dim for key in self.embodiment.actions},
        }

    def check_observation(self, observation: Observation) -> None:
        """Raise `SpecError` for wrong keys, shapes, dtypes or values.

        It also rejects cameras whose images end up in different sizes.
        """
        super().check_observation(observation)
        self.preprocessor.instructions(observation)
        self.preprocessor.image_grid(observation)
        problems = []
        for key in self.embodiment.states:
            state = observation["state"][key.name]
            if state.shape[-1] != key.dim:
                problems.append(
                    f"state.{key.name}: expected {key.dim} values per step, got {state.shape[-1]} "
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
        """Compute an action chunk.

        Args:
            observation: As `BasePolicy.get_action` takes it.
            options: ``{"seed": int}`` makes the action reproducible: the initial noise is the first
                float32 normal draw of a CPU generator of that seed, of shape (B, action_horizon,
                max_action_dim). ``{"rtc": {"prefix": {key: float32 (B, overlap, D)},
                "frozen_steps": int, "ramp_rate": float}}`` continues the chunk in execution, see
                `RealTimeChunking`. ``{"num_inference_timesteps": int}`` sets the denoising steps of
                this call.

        Returns:
            The action, and ``{"timing": {stage: seconds}}``. With real-time chunking also ``"rtc":
            {"clipped": {key: float32 (B, frozen_steps, D)}}``: the difference of frozen steps from
            the prefix, see `clipped_steps`.
        """
        with torch.inference_mode(), on_device(self.device), self.runner.call():
            return self._infer(observation, options)

    def _infer(self, observation: Observation, options: Options | None) -> tuple[Action, Info]:
        watch = Stopwatch(self.device)
        parsed = read_options(
            options, self.embodiment, len(self.preprocessor.instructions(observation))
        )
        vision = self.preprocessor.vision_inputs(observation, watch)
        features = self.runner.features(vision.videos, vision.tokens)
        watch.device_lap("backbone")
        # The host does this while a GPU computes the features.
        denoising = self.preprocessor.denoising_inputs(observation, parsed, vision)
        watch.lap("state")
        output = self.runner.actions(
            features,
            vision.tokens,
            denoising.state,
            denoising.noise,
            denoising.velocity_scale,
            parsed.denoising_steps,
        )
        watch.device_lap("head")
        normalized = output[: vision.rows].float().cpu().numpy()  # only here does the host wait
        watch.resume()
        self._check_finite(normalized)
        state, rtc = observation["state"], parsed.rtc
        action = self.embodiment.decode_action(normalized, state)
        info: Info = {}
        if rtc is not None:
            info["rtc"] = {"clipped": clipped_steps(rtc, self.embodiment, state)}
        watch.lap("decode")
        return action, {"timing": watch.seconds(), **info}

    def _check_finite(self, normalized: NDArray[np.float32]) -> None:
        if np.isfinite(normalized).all():
            return
        if self.dtype == torch.float16:
            raise PolicyError(
                "float16 overflowed in the network (its maximum is 65504): use bfloat16 or float32"
            )
        raise PolicyError("the network's output is not finite: its weights may be damaged")
