# SPDX-License-Identifier: Apache-2.0
"""The cost of a model's call, and the environment of the measurement."""

from __future__ import annotations

import torch
import transformers

from gr00t_policy_core.models.common.devices import on_device
from gr00t_policy_core.models.common.model_inputs import DenoisingInputs, VisionInputs
from gr00t_policy_core.models.common.operator_count import OperatorCount
from gr00t_policy_core.models.common.options import read_options
from gr00t_policy_core.models.common.profiling import StageProfile, profile_stage
from gr00t_policy_core.models.common.runner import images_from_frames
from gr00t_policy_core.models.common.stopwatch import Stopwatch
from gr00t_policy_core.models.model_policy import ModelPolicy
from gr00t_policy_core.policy import Observation

SEED = {"seed": 0}


def environment(policy: ModelPolicy) -> dict[str, str | int]:
    """The device, the dtype and the library versions, to report beside a measurement."""
    on_gpu = policy.device.type == "cuda"
    found: dict[str, str | int] = {
        "device": torch.cuda.get_device_name(policy.device) if on_gpu else "CPU",
        "dtype": str(policy.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cpu_threads": torch.get_num_threads(),
    }
    if on_gpu:
        found["cuda"] = str(torch.version.cuda)
        found["cudnn"] = torch.backends.cudnn.version() or 0
        found["peak_memory_bytes"] = torch.cuda.max_memory_allocated(policy.device)
    return found


def count_operators(policy: ModelPolicy, observation: Observation) -> dict[str, int]:
    """The number of operators that an eager call runs on the device, by stage.

    It leaves out the resizing of images; see `OperatorCount`.
    """
    runner = policy.runner
    with torch.inference_mode(), on_device(policy.device):
        vision, denoising = _inputs(policy, observation)
        images = images_from_frames(policy.model, vision.videos)
        with OperatorCount() as backbone:
            features = runner.eager_backbone(*vision.tokens, images)
        with OperatorCount() as head:
            runner.eager_head(features, denoising.state, denoising.noise, None, *vision.tokens)
    return {"backbone": backbone.total, "head": head.total}


def profile(policy: ModelPolicy, observation: Observation) -> list[StageProfile]:
    """The kernels of each stage of a call, and their times."""
    runner, model = policy.runner, policy.model
    with torch.inference_mode(), on_device(policy.device):
        vision, denoising = _inputs(policy, observation)
        features = runner.features(vision.videos, vision.tokens)
        conditions = (denoising.state, denoising.noise, denoising.velocity_scale)
        return [
            profile_stage(
                "backbone",
                lambda: runner.features(vision.videos, vision.tokens),
                lambda: runner.eager_backbone(*vision.tokens, *vision.videos),
                model.backbone.network,
                policy.device,
            ),
            profile_stage(
                "head",
                lambda: runner.actions(features, vision.tokens, *conditions),
                lambda: runner.eager_head(features, *conditions, *vision.tokens),
                model.head,
                policy.device,
            ),
        ]


def _inputs(policy: ModelPolicy, observation: Observation) -> tuple[VisionInputs, DenoisingInputs]:
    vision = policy.preprocessor.vision_inputs(observation, Stopwatch(policy.device))
    options = read_options(SEED, policy.embodiment, vision.rows)
    return vision, policy.preprocessor.denoising_inputs(observation, options, vision)
