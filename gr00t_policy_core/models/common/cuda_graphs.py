# SPDX-License-Identifier: Apache-2.0
"""Captures a function of tensors as a CUDA graph for each set of input shapes, and replays it.

A call of GR00T launches about two thousand operators, most of them small. A replayed graph launches
them at once, so that the host does not launch them one by one. No caller waits for a capture: a
call without a graph runs eagerly, and `CaptureQueue` captures the graph later.
"""

from __future__ import annotations

import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gr00t_policy_core.models.common.capture_queue import CaptureQueue

Function: TypeAlias = Callable[..., Tensor]
Inputs: TypeAlias = Sequence["Tensor | None"]

WARM_UPS = 3  # before a capture, as PyTorch's documentation asks for
MAX_CAPTURES = 32  # five batch sizes of a few prompt lengths and camera sizes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Capture:
    """A captured call: `replay` computes `output` from the present values of `inputs`."""

    inputs: Inputs
    output: Tensor
    replay: Callable[[], None]


class Capturer(Protocol):
    """Captures calls: as CUDA graphs, or in tests with a substitute that runs on a CPU."""

    def __call__(self, function: Function, inputs: Inputs) -> Capture:
        """Capture `function(*inputs)`, which depends on `inputs` only and reads nothing back.

        Other threads compute and replay meanwhile.

        Raises:
            RuntimeError: The function cannot be captured.
        """


def shapes_of(inputs: Inputs) -> Hashable:
    """The shapes and dtypes of the inputs: one capture or compilation serves all calls of these."""
    return tuple(None if value is None else (value.shape, value.dtype) for value in inputs)


class CudaGraphCapturer:
    """Captures CUDA graphs, one at a time, while other threads use the same GPU.

    All graphs share one memory pool for their intermediate tensors. That is safe as long as replays
    follow one another in one stream and no output is used after the next replay, which
    `GraphedFunction` guarantees. The allocator shares memory only between captures of one stream,
    so one stream captures all graphs. It runs nothing else: a captured kernel keeps the scratch
    memory that cuBLAS has for that stream, and a warm-up there would overwrite it during a replay.

    Args:
        device: The GPU that runs the graphs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._warm_up_stream = torch.cuda.Stream(device)
        self._capture_stream = torch.cuda.Stream(device)

    def __call__(self, function: Function, inputs: Inputs) -> Capture:
        """Warm up in one stream, as a capture needs, and capture in another.

        `torch.cuda.graph` would synchronize the whole GPU and empty the allocators of all threads.
        """
        self._warm_up_stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._warm_up_stream):
            for _ in range(WARM_UPS):
                function(*inputs)
        self._warm_up_stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(self._capture_stream):
            # In this mode other threads may allocate and launch during the capture.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                output = function(*inputs)
            finally:
                graph.capture_end()
        return Capture(inputs, output, graph.replay)


class StorageTracker(TorchDispatchMode):
    """Collects the memory that a function reads besides its inputs: weights and cached tables.

    A graph reads such memory by its address. A cache may drop its tensor, so the capture keeps it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, Any] = {}
        self._own: set[int] = set()

    def __torch_dispatch__(
        self,
        operator: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        read = _storages_of((args, kwargs))
        result = operator(*args, **(kwargs or {}))
        self.storages.update((k, v) for k, v in read.items() if k not in self._own)
        self._own.update(_storages_of(result).keys() - read.keys())
        return result


def _storages_of(values: Any) -> dict[int, Any]:
    storages = (v.untyped_storage() for v in tree_leaves(values) if isinstance(v, Tensor))
    return {storage._cdata: storage for storage in storages}


@dataclass(slots=True)
class _StoredCapture:
    """A capture, the tensors that its inputs were last copied from, and the memory it reads."""

    capture: Capture
    last: list[Callable[[], Tensor | None]]  # weak: images are large, and each comes once
    storages: dict[int, Any]


class GraphedFunction:
    """Calls a function by replaying a graph, one for each set of input shapes.

    A call of other shapes runs eagerly, and requests a capture from the queue. When a capture
    fails, the log says why, and the function requests no more. Several threads may call it; replays
    take turns.

    Args:
        function: The function to capture: tensors (or None) to a tensor. It receives copies of a
            call's tensors. A caller must not write to a tensor that it has passed, because a tensor
            that is passed again is not copied again.
        eager: Computes the same without a capture.
        capturer: Captures a call as a CUDA graph, or as a substitute in tests.
        queue: Runs the captures of all functions that share memory.
        max_captures: Number of captures that are kept, the most recently used ones. Each holds its
            inputs, its output and the memory that the capturer needs.
    """

    def __init__(
        self,
        function: Function,
        eager: Function,
        capturer: Capturer,
        queue: CaptureQueue,
        max_captures: int = MAX_CAPTURES,
    ) -> None:
        self._function = function
        self._eager = eager
        self._capturer = capturer
        self._queue = queue
        self._max_captures = max_captures
        self._captures: OrderedDict[Hashable, _StoredCapture] = OrderedDict()
        self.enabled = True

    def __call__(self, *inputs: Tensor | None) -> Tensor:
        key = shapes_of(inputs)
        with self._queue.replay_lock:
            stored = self._captures.get(key)
            if stored is not None:
                self._captures.move_to_end(key)
                return _replay(stored, inputs)
        if self.enabled:
            self._queue.add((self, key), lambda: self._capture(key, inputs))
        return self._eager(*inputs)

    def _capture(self, key: Hashable, inputs: Inputs) -> None:
        """Capture a call and store the graph; the queue runs this in one thread at a time."""
        if key in self._captures or not self.enabled:
            return
        copies = [None if value is None else value.clone() for value in inputs]
        try:
            with StorageTracker() as tracker:
                self._eager(*copies)
            capture = self._capturer(self._function, copies)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            self.enabled = False
            logger.warning(
                "CUDA graphs: a capture failed, so calls of new shapes launch each kernel by "
                "itself: %s",
                reason,
            )
            return
        with self._queue.replay_lock:
            never: list[Callable[[], Tensor | None]] = [lambda: None] * len(copies)
            self._captures[key] = _StoredCapture(capture, never, tracker.storages)
            if len(self._captures) > self._max_captures:
                self._captures.popitem(last=False)


def _replay(stored: _StoredCapture, inputs: Inputs) -> Tensor:
    for i, (own, value) in enumerate(zip(stored.capture.inputs, inputs, strict=True)):
        if own is not None and value is not None and value is not stored.last[i]():
            own.copy_(value, non_blocking=True)
            stored.last[i] = weakref.ref(value)
    stored.capture.replay()
    return stored.capture.output.clone()
