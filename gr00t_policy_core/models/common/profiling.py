# SPDX-License-Identifier: Apache-2.0
"""Profiles a stage of a call: its kernels, their times, and the bytes that they move.

On a GPU the GPU itself times the kernels, in a replayed graph too. On a CPU torch times the
operators. Bytes are counted in an eager run: each tensor that an operator reads or writes, once
per operator, as if no kernels were fused. Weights are counted separately.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gr00t_policy_core.models.common.operator_count import OperatorCount

RUNS = 5
NAME_CHARS = 60


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of a stage (on a CPU an operator): runs and time (ms) in one call of the policy."""

    name: str
    calls: float
    time_ms: float


@dataclass(frozen=True, slots=True)
class StageProfile:
    """The profile of one stage of a call.

    Args:
        stage: The name of the stage: ``backbone`` or ``head``.
        wall_ms: Wall time of the stage, the median of `RUNS` runs.
        kernels: The kernels, by time, the longest first.
        moved_bytes: Bytes that the operators of an eager run read and write.
        weight_bytes: Bytes of the parameters, which each call reads at least once, those of the DiT
            in each denoising step.
    """

    stage: str
    wall_ms: float
    kernels: tuple[Kernel, ...]
    moved_bytes: int
    weight_bytes: int

    @property
    def calls(self) -> float:
        """Kernels that one call launches."""
        return sum(kernel.calls for kernel in self.kernels)

    @property
    def busy_ms(self) -> float:
        """The time of all kernels together."""
        return sum(kernel.time_ms for kernel in self.kernels)

    def as_json(self) -> dict[str, Any]:
        """The profile as a JSON object."""
        return {**asdict(self), "calls": self.calls, "busy_ms": self.busy_ms}


class _Traffic(TorchDispatchMode):
    """Counts the bytes that operators read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.moved_bytes = 0

    def __torch_dispatch__(
        self,
        operator: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        with OperatorCount() as count:
            result = operator(*args, **(kwargs or {}))
        if count.total:
            for value in tree_leaves((args, kwargs, result)):
                self.moved_bytes += value.nbytes if isinstance(value, Tensor) else 0
        return result


def profile_stage(
    stage: str,
    run: Callable[[], Any],
    eager: Callable[[], Any],
    module: nn.Module,
    device: torch.device,
) -> StageProfile:
    """Profile a stage.

    Args:
        stage: The name of the stage.
        run: Runs the stage as a call does: eagerly, compiled, or as a CUDA graph.
        eager: Runs the stage eagerly, to count bytes.
        module: The module whose weights the stage reads.
        device: The device that the stage runs on.
    """
    on_gpu = device.type == "cuda"
    finish = torch.cuda.synchronize if on_gpu else lambda: None
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]
    run()
    finish()
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(RUNS):
            run()
        finish()
    wall_ms = _wall_ms(run, finish)
    with _Traffic() as traffic:
        eager()
    parameters = {  # without embeddings, of which a call reads few rows
        id(p): p.nbytes
        for layer in module.modules()
        if not isinstance(layer, nn.Embedding)
        for p in layer.parameters(recurse=False)
    }
    return StageProfile(
        stage,
        wall_ms,
        tuple(_kernels(profiler, on_gpu)),
        traffic.moved_bytes,
        sum(parameters.values()),
    )


def _wall_ms(run: Callable[[], Any], finish: Callable[[], None]) -> float:
    times_ms = []
    for _ in range(RUNS):
        begin_s = time.perf_counter()
        run()
        finish()
        times_ms.append(1e3 * (time.perf_counter() - begin_s))
    return sorted(times_ms)[RUNS // 2]


def _kernels(profiler: torch.profiler.profile, on_gpu: bool) -> list[Kernel]:
    calls: dict[str, int] = defaultdict(int)
    time_us: dict[str, float] = defaultdict(float)
    for event in profiler.events() or ():
        if (event.device_type == DeviceType.CUDA) != on_gpu:
            continue
        calls[event.name] += 1
        own_us = event.time_range.elapsed_us() if on_gpu else event.self_cpu_time_total
        time_us[event.name] += own_us
    kernels = [Kernel(name, calls[name] / RUNS, time_us[name] / RUNS / 1e3) for name in calls]
    return sorted(kernels, key=lambda kernel: -kernel.time_ms)


def profile_table(stages: Sequence[StageProfile], shown: int = 12) -> Iterator[str]:
    """The lines of a table with each stage's longest kernels."""
    for stage in stages:
        yield ""
        yield (
            f"{stage.stage}: {stage.wall_ms:.2f} ms, kernels busy {stage.busy_ms:.2f} ms; "
            f"{stage.calls:.0f} kernels; weights {stage.weight_bytes / 1e6:.0f} MB, operators "
            f"read and write {stage.moved_bytes / 1e6:.0f} MB"
        )
        yield f"{'kernel':<{NAME_CHARS}} {'calls':>7} {'ms':>9}"
        for kernel in stage.kernels[:shown]:
            name = kernel.name[:NAME_CHARS]
            yield f"{name:<{NAME_CHARS}} {kernel.calls:>7.0f} {kernel.time_ms:>9.3f}"
        left = stage.kernels[shown:]
        if left:
            calls, time_ms = sum(k.calls for k in left), sum(k.time_ms for k in left)
            name = f"{len(left)} others"
            yield f"{name:<{NAME_CHARS}} {calls:>7.0f} {time_ms:>9.3f}"
