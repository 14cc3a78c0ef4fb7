# SPDX-License-Identifier: Apache-2.0
"""The part of a call that runs on the device: eagerly, compiled, or as CUDA graphs.

It consists of two functions of tensors: images and tokens to features, and features to actions.
Neither makes the host wait for the device, and no shape in them depends on a value, so both can be
compiled and captured. They are two so that each can be timed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor

from gr00t_policy_core.models.common import triton_ops
from gr00t_policy_core.models.common.capture_queue import CaptureQueue
from gr00t_policy_core.models.common.compiled import CompiledFunction, compile_function
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
from gr00t_policy_core.models.common.token_batch import ImageGrid, TokenBatch

LENGTH_MULTIPLE = 16  # tokens: instructions of about the same length share a graph
MAX_BATCH_ROWS = 64  # rows that a server may join; its own --max-batch is usually lower


class Runner:
    """Runs a model's networks.

    Args:
        model: The networks, with their weights on `device`.
        device: The device of the weights.
        dtype: The dtype of the weights and of the computation.
        settings: From `ExecutionSettings.resolved` for this device.
        capturer: Captures calls. None captures CUDA graphs if `settings` ask for them.

    Attributes:
        eager_backbone, eager_head: From `make_device_functions`, neither compiled nor captured.
        pads_batches: Whether batches are padded to a few sizes, because each set of shapes costs a
            compilation or a capture.
        prompt_cache: The token batches of the last prompts, on the device.

    Raises:
        SpecError: As `check_settings` raises it.
    """

    def __init__(
        self,
        model: Model,
        device: torch.device,
        dtype: torch.dtype,
        settings: ExecutionSettings,
        capturer: Capturer | None = None,
    ) -> None:
        if capturer is None:
            check_settings(settings, device)
            capturer = CudaGraphCapturer(device) if settings.cuda_graphs else None
        triton_ops.prepare(device)
        self._device = device
        self.pads_batches = capturer is not None or settings.compile is not None
        self._sizes = batch_sizes(MAX_BATCH_ROWS)
        self.prompt_cache = PromptCache(
            model.backbone,
            LENGTH_MULTIPLE if self.pads_batches else 1,
            mask_padding=settings.mask_padding,
            device=device,
            dtype=dtype,
        )
        self._head = model.head
        with torch.inference_mode():
            model.head.euler_steps()  # they depend on weights only: compute them before any call
        self.eager_backbone, self.eager_head = backbone, head = make_device_functions(model)
        if settings.compile is not None:
            compiled_backbone, compiled_head = make_device_functions(model, settings.compile)
            backbone = CompiledFunction(compiled_backbone, backbone)
            head = CompiledFunction(compiled_head, head)
        self._graphed: tuple[GraphedFunction, ...] = ()
        self.queue = CaptureQueue(self._in_thread)
        if capturer is not None:
            backbone, head = self._graphed = (
                GraphedFunction(backbone, self.eager_backbone, capturer, self.queue),
                GraphedFunction(head, self.eager_head, capturer, self.queue),
            )
        self._run_backbone, self._run_head = backbone, head

    @property
    def uses_cuda_graphs(self) -> bool:
        """Whether calls are captured; a failed capture turns this off."""
        return bool(self._graphed) and all(function.enabled for function in self._graphed)

    def padded_batch_size(self, rows: int) -> int:
        """The number of rows that a batch of `rows` is padded to."""
        if not self.pads_batches:
            return rows
        return next((size for size in self._sizes if size >= rows), rows)

    def add_batch_size(self, rows: int) -> None:
        """Add a size that batches are padded to."""
        self._sizes = tuple(sorted({*self._sizes, rows}))

    def token_batch(self, texts: Sequence[str], grid: ImageGrid) -> TokenBatch:
        """The tokens of a batch on the device, from the cache where it has them.

        Args:
            texts: The instruction of each row.
            grid: The images of each row.
        """
        return self.prompt_cache(tuple(texts), grid)

    def features(self, videos: Sequence[Tensor], tokens: TokenBatch) -> Tensor:
        """The features that the action head attends to; see `Backbone.features`.

        Args:
            videos: The frames of each camera, as `images_from_frames` takes them; or one tensor of
                images that are resized already.
            tokens: The batch from `token_batch`.

        Returns:
            (B, S, backbone_embedding_dim).
        """
        return self._run_backbone(*tokens, *videos)

    def actions(
        self,
        features: Tensor,
        tokens: TokenBatch,
        state: Tensor,
        noise: Tensor,
        velocity_scale: Tensor | None,
        denoising_steps: int | None = None,
    ) -> Tensor:
        """Normalized actions; see `ActionHead.condition` and `ActionHead.sample`.

        A call with another number of `denoising_steps` than the head's own runs eagerly.

        Returns:
            (B, action_horizon, max_action_dim).
        """
        if denoising_steps not in (None, self._head.config.num_inference_timesteps):
            conditioning = self._head.condition(features, tokens, state)
            return self._head.sample(conditioning, noise, velocity_scale, count=denoising_steps)
        return self._run_head(features, state, noise, velocity_scale, *tokens)

    @contextmanager
    def _in_thread(self) -> Iterator[None]:
        with torch.inference_mode(), on_device(self._device):
            yield

    def call(self) -> AbstractContextManager[None]:
        """Enclose each call of the policy: graphs are captured between calls."""
        return self.queue.call() if self._graphed else contextlib.nullcontext()


def make_device_functions(model: Model, compile: str | None = None) -> tuple[Function, Function]:
    """What a call computes on the device, as two functions that take and return tensors only.

    Args:
        model: The networks, with their weights.
        compile: One of `MODES`; None leaves the functions eager.

    Returns:
        The backbone: a `TokenBatch` and images to features. The head: features, state, noise,
        velocity scale (or None) and a `TokenBatch` to normalized actions.
    """

    def maybe_compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        return function if compile is None else compile_function(function, compile)

    head = model.head
    features = maybe_compiled(model.backbone.features)
    condition = maybe_compiled(head.condition)
    # One step is compiled and called several times: unrolled, it takes as many times as long.
    euler_step = maybe_compiled(head.euler_step)

    def run_backbone(*inputs: Tensor | None) -> Tensor:
        count = len(TokenBatch._fields)
        tokens, videos = TokenBatch(*inputs[:count]), inputs[count:]
        result: Tensor = features(images_from_frames(model, videos), tokens)
        return result

    def run_head(
        features: Tensor,
        state: Tensor,
        noise: Tensor,
        velocity_scale: Tensor | None,
        *tokens: Tensor | None,
    ) -> Tensor:
        conditioning = condition(features, TokenBatch(*tokens), state)
        return head.sample(conditioning, noise, velocity_scale, euler_step)

    return run_backbone, run_head


def images_from_frames(model: Model, videos: Sequence[Tensor]) -> Tensor:
    """The frames of each camera to the backbone's images, on their device.

    Args:
        model: The model whose backbone reads the images.
        videos: uint8 (B, T, H, W, 3) of each camera; or one tensor (images, H, W, 3) of images that
            are resized already.

    Returns:
        uint8 (images, H, W, 3); within a row by time, then by camera.
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
