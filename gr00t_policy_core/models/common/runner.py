# SPDX-License-Identifier: Apache-2.0
"""The part of a call that runs on the device: computed as it is, compiled, or replayed.

Two functions of tensors, from pictures and tokens to features and from these to actions. Neither
makes the host wait for the device, and no shape in them depends on a value: so both can be compiled
and both can be recorded as CUDA graphs. There are two for one reason, that each can be timed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.compiled import FirstShapes, check_mode, compiled
from gr00t_policy_core.models.common.graphs import CudaGraphs, Function, Recorder, StaticCall
from gr00t_policy_core.models.common.kept import KeptLayouts
from gr00t_policy_core.models.common.layout import PictureGrid, Tokens
from gr00t_policy_core.models.common.model import Model

ROUND_LENGTH = 16  # tokens: instructions of about the same length share a graph


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How the networks are run; what comes out is the same but for rounding.

    Args:
        mask_padding: Let each row of a batch give what it gives alone; see `lay_out`.
        cuda_graphs: Record each function as a CUDA graph for each set of shapes, and replay it.
        compile: One of `gr00t_policy_core.models.common.compiled.MODES`; None compiles nothing.
        device_images: Resize pictures on the device; each bit is the same.
    """

    mask_padding: bool = False
    cuda_graphs: bool = False
    compile: str | None = None
    device_images: bool = False


def check_settings(settings: RunSettings, device: torch.device) -> None:
    """Raise `SpecError` for CUDA graphs without a GPU, or an unknown mode of compilation."""
    check_mode(settings.compile)
    if settings.cuda_graphs and device.type != "cuda":
        raise SpecError("bad setting", [f"CUDA graphs need a GPU, the device is {device}"])


class Runner:
    """Runs a model's networks.

    Args:
        model: With its weights.
        device: Where they are.
        dtype: Of the weights.
        settings: How.
        record: How calls are recorded; None: as CUDA graphs, where `settings` ask for them.

    Attributes:
        see, act: Of `device_functions`: what is compiled or recorded, as it is.
        layouts: What is kept of the last prompts.

    Raises:
        SpecError: As `check_settings` says.
    """

    def __init__(
        self,
        model: Model,
        device: torch.device,
        dtype: torch.dtype,
        settings: RunSettings,
        record: Recorder | None = None,
    ) -> None:
        if record is None:
            check_settings(settings, device)
            record = CudaGraphs(device) if settings.cuda_graphs else None
        multiple = ROUND_LENGTH if settings.cuda_graphs or settings.compile else 1
        self.layouts = KeptLayouts(
            model.backbone,
            multiple,
            mask_padding=settings.mask_padding,
            device=device,
            dtype=dtype,
        )
        self._head = model.head
        with torch.inference_mode():
            model.head.steps()  # what no observation changes is there before the first of them
        self.see, self.act = see, act = device_functions(model)
        if settings.compile is not None:
            fast_see, fast_act = device_functions(model, settings.compile)
            see, act = FirstShapes(fast_see, see), FirstShapes(fast_act, act)
        if record is not None:
            turn = threading.Lock()
            see, act = StaticCall(see, record, turn), StaticCall(act, record, turn)
        self._see, self._act = see, act

    def tokens(self, texts: Sequence[str], pictures: PictureGrid) -> Tokens:
        """The tokens of a batch on the device; those of the last prompts are kept there.

        Args:
            texts: The instruction of each row.
            pictures: Of each row.
        """
        return self.layouts(tuple(texts), pictures)

    def features(self, pictures: Tensor, tokens: Tokens) -> Tensor:
        """What the action head attends to; see `Backbone.features`."""
        return self._see(pictures, *tokens)

    def actions(
        self,
        features: Tensor,
        tokens: Tokens,
        state: Tensor,
        noise: Tensor,
        velocity_scale: Tensor | None,
        denoising_steps: int | None = None,
    ) -> Tensor:
        """Normalised actions; see `ActionHead.condition` and `ActionHead.sample`.

        With `denoising_steps`, other than the head's own, nothing is compiled or replayed.
        """
        if denoising_steps not in (None, self._head.config.num_inference_timesteps):
            conditioning = self._head.condition(features, tokens, state)
            return self._head.sample(conditioning, noise, velocity_scale, count=denoising_steps)
        return self._act(features, state, noise, velocity_scale, *tokens)


def device_functions(model: Model, compile: str | None = None) -> tuple[Function, Function]:
    """What a call does on the device, as two functions of tensors only.

    Args:
        model: With its weights.
        compile: How; None for not.

    Returns:
        From pictures and `Tokens` to features, and from features, state, noise, velocity scale (or
        None) and `Tokens` to normalised actions.
    """

    def made(function: Callable[..., Any]) -> Callable[..., Any]:
        return function if compile is None else compiled(function, compile)

    head = model.head
    features, condition = made(model.backbone.features), made(head.condition)
    # Compiled once and called for each step: unrolled it would take as many times as long.
    euler = made(head.euler)

    def see(pictures: Tensor, *tokens: Tensor | None) -> Tensor:
        seen: Tensor = features(pictures, Tokens(*tokens))
        return seen

    def act(
        seen: Tensor,
        state: Tensor,
        noise: Tensor,
        velocity_scale: Tensor | None,
        *tokens: Tensor | None,
    ) -> Tensor:
        conditioning = condition(seen, Tokens(*tokens), state)
        return head.sample(conditioning, noise, velocity_scale, euler)

    return see, act
