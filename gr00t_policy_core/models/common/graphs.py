# SPDX-License-Identifier: Apache-2.0
"""A function of tensors, recorded once as a CUDA graph for each set of shapes, and replayed.

A call of GR00T runs some two thousand operators, most of them small. A replayed graph starts them
all at once, instead of the host one by one.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

Function: TypeAlias = Callable[..., Tensor]
Inputs: TypeAlias = Sequence["Tensor | None"]

WARM_UPS = 3  # before capture, as PyTorch's documentation asks for
KEPT = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recording:
    """A call with its own memory: `replay` computes `output` from what `inputs` hold then."""

    inputs: Inputs
    output: Tensor
    replay: Callable[[], None]


class Recorder(Protocol):
    """Records calls: CUDA graphs, and in tests something that a CPU can do."""

    def __call__(self, function: Function, inputs: Inputs) -> Recording:
        """Record `function(*inputs)`, which depends on `inputs` only and reads nothing back.

        Raises:
            RuntimeError: It cannot be recorded.
        """


def shapes_of(inputs: Inputs) -> object:
    """What inputs have in common that one recording or compilation is good for."""
    return tuple(None if given is None else (given.shape, given.dtype) for given in inputs)


class CudaGraphs:
    """Captures CUDA graphs.

    All share one pool of memory for what lies between input and output. That is safe as long as one
    replay follows the other in one queue and no output is used after the next one, which is what
    `StaticCall` sees to; without it, each graph would keep all of its intermediate results.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Function, inputs: Inputs) -> Recording:
        """Warm up on a side stream, as capture asks for, and capture there."""
        main = torch.cuda.current_stream(self._device)
        side = torch.cuda.Stream(self._device)
        side.wait_stream(main)
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                function(*inputs)
        main.wait_stream(side)
        torch.cuda.synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        # Threads that have nothing to do with it, a server's for example, may go on meanwhile.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=side, capture_error_mode="thread_local"
        ):
            output = function(*inputs)
        return Recording(inputs, output, graph.replay)


class StaticCall:
    """Calls a function by replaying a recording of it, one for each set of shapes.

    A call that cannot be recorded is computed as if there were no recordings, and so are all after
    it; the log says so once. May be called by several threads; they take turns.

    Args:
        function: Of tensors (or None), giving a tensor. It never sees the tensors that it is called
            with, which must not be changed afterwards: one that comes again is not copied again.
        record: How a call is recorded.
        turn: Of all calls whose recordings share memory.
        kept: How many recordings are kept, those that were used last: each holds its inputs and its
            output, and what the recorder needs.
    """

    def __init__(
        self,
        function: Function,
        record: Recorder,
        turn: threading.Lock | None = None,
        kept: int = KEPT,
    ) -> None:
        self._function = function
        self._record = record
        self._kept = kept
        self._recordings: OrderedDict[object, tuple[Recording, list[Tensor | None]]] = OrderedDict()
        self._works = True
        self._turn = turn or threading.Lock()

    def __call__(self, *inputs: Tensor | None) -> Tensor:
        with self._turn:
            found = self._find(inputs) if self._works else None
            if found is None:
                return self._function(*inputs)
            recording, last = found
            for i, (own, given) in enumerate(zip(recording.inputs, inputs, strict=True)):
                if own is not None and given is not None and given is not last[i]:
                    own.copy_(given, non_blocking=True)
                    last[i] = given
            recording.replay()
            return recording.output.clone()

    def _find(self, inputs: Inputs) -> tuple[Recording, list[Tensor | None]] | None:
        key = shapes_of(inputs)
        if key not in self._recordings:
            own = [None if given is None else given.clone() for given in inputs]
            try:
                recording = self._record(self._function, own)
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
                logger.warning("no CUDA graphs, each kernel is started by itself: %s", reason)
                self._works = False
                self._recordings.clear()
                return None
            self._recordings[key] = (recording, list(inputs))
            if len(self._recordings) > self._kept:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(key)
        return self._recordings[key]
