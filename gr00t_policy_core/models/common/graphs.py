# SPDX-License-Identifier: Apache-2.0
"""A function of tensors, recorded once as a CUDA graph and replayed.

A GR00T head runs 4 steps of 32 blocks, each of a dozen small kernels: one launch replaces them all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Function: TypeAlias = Callable[..., Tensor]
Inputs: TypeAlias = Sequence["Tensor | None"]

WARM_UPS = 3  # before capture, as PyTorch's documentation asks for


@dataclass(frozen=True, slots=True)
class Recording:
    """A call with its own memory: `replay` computes `output` from what `inputs` hold then."""

    inputs: Inputs
    output: Tensor
    replay: Callable[[], None]


Recorder: TypeAlias = Callable[[Function, Inputs], Recording]


def record_cuda_graph(function: Function, inputs: Inputs) -> Recording:
    """Capture a call; `function` must not read values back, and depend on `inputs` only."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):
            function(*inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = function(*inputs)
    return Recording(inputs, output, graph.replay)


class StaticCall:
    """Calls a function by replaying a recording of it, one for each set of shapes.

    Args:
        function: Of tensors (or None), giving a tensor.
        record: How a call is recorded.
        kept: How many recordings are kept; each holds the memory of all its intermediate results.
    """

    def __init__(
        self, function: Function, record: Recorder = record_cuda_graph, kept: int = 8
    ) -> None:
        self._function = function
        self._record = record
        self._kept = kept
        self._recordings: OrderedDict[object, Recording] = OrderedDict()

    def __call__(self, *inputs: Tensor | None) -> Tensor:
        recording = self._recording(inputs)
        for own, given in zip(recording.inputs, inputs, strict=True):
            if own is not None and given is not None:
                own.copy_(given)
        recording.replay()
        return recording.output.clone()

    def _recording(self, inputs: Inputs) -> Recording:
        key = tuple(None if given is None else (given.shape, given.dtype) for given in inputs)
        if key not in self._recordings:
            own = [None if given is None else given.clone() for given in inputs]
            self._recordings[key] = self._record(self._function, own)
            if len(self._recordings) > self._kept:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(key)
        return self._recordings[key]
