# SPDX-License-Identifier: Apache-2.0
"""`Gr00tPolicy`: a GR00T checkpoint behind the interface of every policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gr00t_policy_core.embodiment import EmbodimentTag
from gr00t_policy_core.models.common.checkpoint_formats import open_checkpoint
from gr00t_policy_core.models.common.devices import find_device, find_dtype
from gr00t_policy_core.models.common.embodiment import find_tag
from gr00t_policy_core.models.common.execution_settings import ExecutionSettings, check_settings
from gr00t_policy_core.models.common.float8 import NAME as FLOAT8
from gr00t_policy_core.models.common.float8 import check_device
from gr00t_policy_core.models.model_policy import ModelPolicy
from gr00t_policy_core.models.registry import find_loader


class Gr00tPolicy(ModelPolicy):
    """A GR00T N1.6 or N1.7 checkpoint.

    Args:
        embodiment_tag: The robot to drive: a tag that the checkpoint knows.
        model_path: The checkpoint's folder, its id on the Hugging Face hub, or that of a folder
            there: as Isaac-GR00T or LeRobot saved it, or a LoRA adapter of such a one.
        device: Where the model runs: ``cuda``, ``cuda:1``, ``cpu``.
        dtype: Of weights and computation: ``bfloat16``, ``float16``, ``float32``, or ``fp8``, which
            is bfloat16 with some layers in float8; None takes bfloat16, and float32 on a CPU.
        backbone_path: Where the backbone's tokenizer and configuration files are; None looks in
            the hub's local cache and on the hub.
        base_model_path: The base model of a checkpoint of LeRobot or of a LoRA adapter; None takes
            the one that it names.
        num_inference_timesteps: Steps of denoising; None for as many as the checkpoint says.
        mask_padding: Let each row of a batch give what it gives alone. False computes as the
            reference does, where instructions of different length in one batch change each other's
            actions: some of N1.7's attention sees the padding.
        cuda_graphs: Record the networks as CUDA graphs, for each shape of input that comes, and
            replay them; None: on a GPU. `warm_up` records before the first call; a shape that comes
            later is computed at once without a graph, and recorded when no call runs.
        compile: Compile the networks with torch.compile: ``default``, or ``max-autotune``, which
            compiles for longer before the first answer; None for not.
        device_images: Resize pictures on the device, each bit is the same; None: on a GPU.
        strict: Check every observation before it is used and every action before it is returned.

    Raises:
        CheckpointError: Naming the file or the tensor that is missing or wrong.
        SpecError: A tag that the checkpoint does not know, statistics that it lacks, or a setting
            that is not supported.
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
        where = find_device(device)
        kind = find_dtype(dtype, where)
        if dtype == FLOAT8:
            check_device(where)
        settings = ExecutionSettings(mask_padding, cuda_graphs, compile, device_images)
        check_settings(settings, where)
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
            device=where,
            dtype=kind,
            backbone_path=backbone_path,
        )
        super().__init__(model, where, kind, settings, strict=strict, float8=dtype == FLOAT8)
