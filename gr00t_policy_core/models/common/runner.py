# SPDX-License-Identifier: Apache-2.0
"""The part of a call that runs on the device: computed as it is, compiled, or replayed.

Two functions of tensors, from pictures and tokens to features and from these to actions. Neither
makes the host wait for the device, and no shape in them depends on a value: so both can be compiled
and both can be recorded as CUDA graphs. There are two for one reason, that each can be timed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor

from gr00t_policy_core.models.common.capture_queue import CaptureQueue
from gr00t_policy_core.models.common.compiled import CompiledFunction, compiled
from gr00t_policy_core.models.common.cuda_graphs import (
    Capturer,
    CudaGraphCapturer,
    Function,
    GraphedFunction,
)
from gr00t_policy_core.models.common.devices import on_device
from gr00t_policy_core.models.common.execution_settings import (
    ExecutionSettings,
    batch_sizes,
    check_settings,
)
from gr00t_policy_core.models.common.model import Model
from gr00t_policy_core.models.common.prompt_cache import PromptCache
from gr00t_policy_core.models.common.token_batch import ImageGrid, Tokens

ROUND_LENGTH = 16  # tokens: instructions of about the same length share a graph
MAX_BATCH_ROWS = 64  # what a server may join; its own --max-batch is usually lower


class Runner:
    """Runs a model's networks.

    Args:
        model: With its weights.
        device: Where they are.
        dtype: Of the weights.
        settings: How; `ExecutionSettings.resolved` for this device.
        record: How calls are recorded; None: as CUDA graphs, where `settings` ask for them.

    Attributes:
        see, act: Of `make_device_functions`: what is compiled or recorded, as it is.
        pads_batches: Batches are filled up to a few sizes, because each set of shapes has its price.
        layouts: What is kept of the last prompts.

    Raises:
        SpecError: As `check_settings` says.
    """

    def __init__(
        self,
        model: Model,
        device: torch.device,
        dtype: torch.dtype,
        settings: ExecutionSettings,
        record: Capturer | None = None,
    ) -> None:
        if record is None:
            check_settings(settings, device)
            record = CudaGraphCapturer(device) if settings.cuda_graphs else None
        self._device = device
        self.pads_batches = record is not None or settings.compile is not None
        self._sizes = batch_sizes(MAX_BATCH_ROWS)
        self.layouts = PromptCache(
            model.backbone,
            ROUND_LENGTH if self.pads_batches else 1,
            mask_padding=settings.mask_padding,
            device=device,
            dtype=dtype,
        )
        self._head = model.head
        with torch.inference_mode():
            model.head.steps()  # what no observation changes is there before the first of them
        self.see, self.act = see, act = make_device_functions(model)
        if settings.compile is not None:
            fast_see, fast_act = make_device_functions(model, settings.compile)
            see, act = CompiledFunction(fast_see, see), CompiledFunction(fast_act, act)
        self._calls: tuple[GraphedFunction, ...] = ()
        self.queue = CaptureQueue(self._in_thread)
        if record is not None:
            see, act = self._calls = (
                GraphedFunction(see, self.see, record, self.queue),
                GraphedFunction(act, self.act, record, self.queue),
            )
        self._see, self._act = see, act

    @property
    def records(self) -> bool:
        """Whether calls are recorded, which a failed capture ends."""
        return bool(self._calls) and all(call.works for call in self._calls)

    def padded_batch_size(self, rows: int) -> int:
        """How many rows a batch of so many is filled up to."""
        if not self.pads_batches:
            return rows
        return next((size for size in self._sizes if size >= rows), rows)

    def add_batch_size(self, rows: int) -> None:
        """Let batches be filled up to this size, too."""
        self._sizes = tuple(sorted({*self._sizes, rows}))

    def tokens(self, texts: Sequence[str], pictures: ImageGrid) -> Tokens:
        """The tokens of a batch on the device; those of the last prompts are kept there.

        Args:
            texts: The instruction of each row.
            pictures: Of each row.
        """
        return self.layouts(tuple(texts), pictures)

    def features(self, videos: Sequence[Tensor], tokens: Tokens) -> Tensor:
        """What the action head attends to; see `Backbone.features`.

        Args:
            videos: Of each camera, as `images_from_frames` takes them; or one tensor, pictures that are
                resized already.
            tokens: Of the batch.
        """
        return self._see(*tokens, *videos)

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

    @contextmanager
    def _in_thread(self) -> Iterator[None]:
        with torch.inference_mode(), on_device(self._device):
            yield

    def call(self) -> AbstractContextManager[None]:
        """Around each answer: recordings are made between answers."""
        return self.queue.call() if self._calls else contextlib.nullcontext()


def make_device_functions(model: Model, compile: str | None = None) -> tuple[Function, Function]:
    """What a call does on the device, as two functions of tensors only.

    Args:
        model: With its weights.
        compile: How; None for not.

    Returns:
        From `Tokens` and pictures to features, and from features, state, noise, velocity scale (or
        None) and `Tokens` to normalised actions.
    """

    def made(function: Callable[..., Any]) -> Callable[..., Any]:
        return function if compile is None else compiled(function, compile)

    head = model.head
    features, condition = made(model.backbone.features), made(head.condition)
    # Compiled once and called for each step: unrolled it would take as many times as long.
    euler = made(head.euler)

    def see(*inputs: Tensor | None) -> Tensor:
        tokens, videos = Tokens(*inputs[: len(Tokens._fields)]), inputs[len(Tokens._fields) :]
        seen: Tensor = features(images_from_frames(model, videos), tokens)
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


def images_from_frames(model: Model, videos: Sequence[Tensor]) -> Tensor:
    """Frames of each camera to pictures, on their device.

    Args:
        model: Whose backbone reads them.
        videos: uint8 (B, T, H, W, 3) each; or one tensor (pictures, H, W, 3), which is resized.

    Returns:
        uint8 (pictures, H, W, 3); within a row by time, then by camera.
    """
    if videos[0].ndim == 4:
        return videos[0]
    backbone = model.backbone
    if len({video.shape for video in videos}) == 1:
        return backbone.images_on_device(torch.stack(list(videos), dim=2).flatten(0, 2))
    resized = [
        backbone.images_on_device(video.flatten(0, 1)).unflatten(0, video.shape[:2])
        for video in videos
    ]
    return torch.stack(resized, dim=2).flatten(0, 2)
