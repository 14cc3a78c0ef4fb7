# SPDX-License-Identifier: Apache-2.0
"""`Gr00tPolicy`: a GR00T checkpoint as a policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gr00t_policy_core.embodiment import EmbodimentTag
from gr00t_policy_core.models.common.checkpoint_formats import open_checkpoint
from gr00t_policy_core.models.common.devices import find_device, find_dtype
from gr00t_policy_core.models.common.embodiment_reader import find_tag
from gr00t_policy_core.models.common.execution_settings import ExecutionSettings, check_settings
from gr00t_policy_core.models.common.float8 import NAME as FLOAT8
from gr00t_policy_core.models.common.float8 import check_device
from gr00t_policy_core.models.model_policy import ModelPolicy
from gr00t_policy_core.models.registry import find_loader


class Gr00tPolicy(ModelPolicy):
    """A GR00T N1.6 or N1.7 checkpoint.

    Args:
        embodiment_tag: The embodiment that the policy drives: a tag of the checkpoint.
        model_path: A folder, an id on the Hugging Face hub (``owner/name``), or a folder there
            (``owner/name/folder``). It holds a checkpoint that Isaac-GR00T or LeRobot saved, or a
            LoRA adapter for one.
        device: The device of the model: ``cuda``, ``cuda:1``, ``1`` or ``cpu``.
        dtype: The dtype of weights and computation: ``bfloat16``, ``float16``, ``float32``, or
            ``fp8``, which is bfloat16 with some layers in float8. None means bfloat16 on a GPU and
            float32 on a CPU.
        backbone_path: The folder of the backbone's tokenizer and configuration files. None takes
            them from the hub's local cache or from the hub.
        base_model_path: The base model of a LeRobot checkpoint or of a LoRA adapter. None takes the
            one that the checkpoint names.
        num_inference_timesteps: Denoising steps of a call. None takes the checkpoint's number.
        mask_padding: Hide padding from all attention, so that a row's actions do not depend on the
            other rows of its batch. False computes as the reference does, where some of N1.7's
            attention sees the padding of instructions with different lengths.
        cuda_graphs: Capture the networks as CUDA graphs, for each set of input shapes, and replay
            them. `warm_up` captures before the first call. A call of other shapes runs eagerly at
            once, and its graph is captured when no call is running. None means: on a GPU.
        compile: Compile the networks with torch.compile: ``default``, or ``max-autotune``, which
            compiles for longer before the first call. None does not compile.
        device_images: Resize images on the device, with the same bits as on the host. None means:
            on a GPU.
        strict: Check every observation before it is used and every action before it is returned.

    Raises:
        CheckpointError: A file or a tensor is missing or wrong; the message names it.
        SpecError: The checkpoint does not know the tag, lacks statistics, or a setting is not
            supported.
    """

    def __init__(
        self,
        embodiment_tag: EmbodimentTag | str,
        model_path: str | Path,
        *,
        device: str | int = "cuda",
        dtype: str | None = None,
        backbone_path: str | Path | None = None,
        base_model_path: str | Path | None = None,
        num_inference_timesteps: int | None = None,
        mask_padding: bool = False,
        cuda_graphs: bool | None = None,
        compile: str | None = None,
        device_images: bool | None = None,
        strict: bool = True,
    ) -> None:
        torch_device = find_device(device)
        torch_dtype = find_dtype(dtype, torch_device)
        if dtype == FLOAT8:
            check_device(torch_device)
        settings = ExecutionSettings(mask_padding, cuda_graphs, compile, device_images)
        check_settings(settings, torch_device)
        checkpoint = open_checkpoint(
            model_path, base_model_path=base_model_path, backbone_path=backbone_path
        )
        if num_inference_timesteps is not None:
            steps = {"num_inference_timesteps": num_inference_timesteps}
            checkpoint = replace(checkpoint, config={**checkpoint.config, **steps})
        load = find_loader(checkpoint)
        model = load(
            checkpoint,
            find_tag(checkpoint, embodiment_tag),
            device=torch_device,
            dtype=torch_dtype,
            backbone_path=backbone_path,
        )
        super().__init__(
            model, torch_device, torch_dtype, settings, strict=strict, float8=dtype == FLOAT8
        )
