# SPDX-License-Identifier: Apache-2.0
"""A function of tensors, recorded as a CUDA graph for each set of shapes, and replayed.

A call of GR00T runs some two thousand operators, most of them small. A replayed graph starts them
all at once, instead of the host one by one. No caller waits for a recording: what is not recorded
yet is computed as it is, and `CaptureQueue` records it later.
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

WARM_UPS = 3  # before capture, as PyTorch's documentation asks for
KEPT = 32  # five batch sizes of a few prompt lengths and camera sizes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recording:
    """A call with its own memory: `replay` computes `output` from what `inputs` hold then."""

    inputs: Inputs
    output: Tensor
    replay: Callable[[], None]


class Capturer(Protocol):
    """Records calls: CUDA graphs, and in tests something that a CPU can do."""

    def __call__(self, function: Function, inputs: Inputs) -> Recording:
        """Record `function(*inputs)`, which depends on `inputs` only and reads nothing back.

        Other threads compute and replay meanwhile.

        Raises:
            RuntimeError: It cannot be recorded.
        """


def shapes_of(inputs: Inputs) -> Hashable:
    """What inputs have in common that one recording or compilation is good for."""
    return tuple(None if given is None else (given.shape, given.dtype) for given in inputs)


class CudaGraphCapturer:
    """Captures CUDA graphs, one at a time, while other threads use the same GPU.

    All share one pool of memory for what lies between input and output. That is safe as long as one
    replay follows the other in one queue and no output is used after the next one, which is what
    `GraphedFunction` sees to. The allocator shares memory only between captures of one stream, so all
    are captured in the same one. Nothing else ever runs there: a captured kernel keeps the scratch
    memory that cuBLAS has for that stream, and a warm-up in it would write there during a replay.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._warm = torch.cuda.Stream(device)
        self._side = torch.cuda.Stream(device)

    def __call__(self, function: Function, inputs: Inputs) -> Recording:
        """Warm up in a stream of its own, as capture asks for, and capture in another.

        `torch.cuda.graph` would wait for the whole GPU and empty the allocators of all threads.
        """
        self._warm.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._warm):
            for _ in range(WARM_UPS):
                function(*inputs)
        self._warm.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(self._side):
            # Threads that have nothing to do with it may allocate and launch meanwhile.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                output = function(*inputs)
            finally:
                graph.capture_end()
        return Recording(inputs, output, graph.replay)


class Held(TorchDispatchMode):
    """Keeps what a function reads besides its arguments: weights, and tables from caches.

    A graph reads such memory by address. A cache may drop its tensor; a recording may not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.memory: dict[int, Any] = {}
        self._own: set[int] = set()

    def __torch_dispatch__(
        self,
        operator: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = _memory_of((args, kwargs))
        result = operator(*args, **(kwargs or {}))
        self.memory.update((k, v) for k, v in given.items() if k not in self._own)
        self._own.update(_memory_of(result).keys() - given.keys())
        return result


def _memory_of(values: Any) -> dict[int, Any]:
    storages = (v.untyped_storage() for v in tree_leaves(values) if isinstance(v, Tensor))
    return {storage._cdata: storage for storage in storages}


@dataclass(slots=True)
class _Kept:
    """A recording, whose inputs it holds now, and the memory that it reads."""

    recording: Recording
    last: list[Callable[[], Tensor | None]]  # weak: pictures are large, and never come again
    held: dict[int, Any]


class GraphedFunction:
    """Calls a function by replaying a recording of it, one for each set of shapes.

    A call of other shapes is computed at once by `plain`, and asks the queue for a recording. When
    a recording fails, the log says why, and no further one is tried. May be called by several
    threads; replays take turns.

    Args:
        function: Of tensors (or None), giving a tensor: what is recorded. It never sees the tensors
            of a call, which must not be changed afterwards: one that comes again is not copied
            again.
        plain: What computes the same at once.
        record: How a call is recorded.
        queue: Of all calls whose recordings share memory.
        kept: How many recordings are kept, those that were used last: each holds its inputs and its
            output, and what the recorder needs.
    """

    def __init__(
        self,
        function: Function,
        plain: Function,
        record: Capturer,
        queue: CaptureQueue,
        kept: int = KEPT,
    ) -> None:
        self._function = function
        self._plain = plain
        self._record = record
        self._queue = queue
        self._kept = kept
        self._recordings: OrderedDict[Hashable, _Kept] = OrderedDict()
        self.works = True

    def __call__(self, *inputs: Tensor | None) -> Tensor:
        key = shapes_of(inputs)
        with self._queue.turn:
            found = self._recordings.get(key)
            if found is not None:
                self._recordings.move_to_end(key)
                return _replay(found, inputs)
        if self.works:
            self._queue.add((self, key), lambda: self._make(key, inputs))
        return self._plain(*inputs)

    def _make(self, key: Hashable, inputs: Inputs) -> None:
        """Record a call; the queue calls this, in one thread at a time."""
        if key in self._recordings or not self.works:
            return
        own = [None if given is None else given.clone() for given in inputs]
        try:
            with Held() as held:
                self._plain(*own)
            recording = self._record(self._function, own)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            self.works = False
            logger.warning(
                "CUDA graphs: capture failed, calls of new shapes start each kernel by itself: %s",
                reason,
            )
            return
        with self._queue.turn:
            self._recordings[key] = _Kept(recording, [lambda: None] * len(own), held.memory)
            if len(self._recordings) > self._kept:
                self._recordings.popitem(last=False)


def _replay(kept: _Kept, inputs: Inputs) -> Tensor:
    for i, (own, given) in enumerate(zip(kept.recording.inputs, inputs, strict=True)):
        if own is not None and given is not None and given is not kept.last[i]():
            own.copy_(given, non_blocking=True)
            kept.last[i] = weakref.ref(given)
    kept.recording.replay()
    return kept.recording.output.clone()
