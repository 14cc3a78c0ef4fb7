# SPDX-License-Identifier: Apache-2.0
"""What an answer of a model costs, and where that was measured."""

from __future__ import annotations

import torch
import transformers

from gr00t_policy_core.models.common.devices import on_device
from gr00t_policy_core.models.common.operator_count import OperatorCount
from gr00t_policy_core.models.common.profiling import StageProfile, profile_stage
from gr00t_policy_core.models.common.runner import images_from_frames
from gr00t_policy_core.models.common.stopwatch import Stopwatch
from gr00t_policy_core.models.model_policy import ModelPolicy
from gr00t_policy_core.policy import Observation

SEED = {"seed": 0}


def environment(policy: ModelPolicy) -> dict[str, str | int]:
    """Where and with what a policy runs, for who reports a measurement."""
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
    """How many operators an answer runs on the device, by stage; see `OperatorCount`.

    As the networks are written: neither compiled nor recorded, and without resizing.
    """
    runner = policy.runner
    with torch.inference_mode(), on_device(policy.device):
        given = policy.inputs(observation, SEED, Stopwatch(policy.device))
        pictures = images_from_frames(policy.model, given.videos)
        with OperatorCount() as backbone:
            features = runner.see(*given.tokens, pictures)
        with OperatorCount() as head:
            runner.act(features, given.state, given.noise, None, *given.tokens)
    return {"backbone": backbone.total, "head": head.total}


def profile(policy: ModelPolicy, observation: Observation) -> list[StageProfile]:
    """What the stages of an answer run on the device, and for how long."""
    runner, model = policy.runner, policy.model
    with torch.inference_mode(), on_device(policy.device):
        given = policy.inputs(observation, SEED, Stopwatch(policy.device))
        features = runner.features(given.videos, given.tokens)
        conditions = (given.state, given.noise, given.velocity_scale)
        return [
            profile_stage(
                "backbone",
                lambda: runner.features(given.videos, given.tokens),
                lambda: runner.see(*given.tokens, *given.videos),
                model.backbone.network,
                policy.device,
            ),
            profile_stage(
                "head",
                lambda: runner.actions(features, given.tokens, *conditions),
                lambda: runner.act(features, *conditions, *given.tokens),
                model.head,
                policy.device,
            ),
        ]
