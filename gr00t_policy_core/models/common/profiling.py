# SPDX-License-Identifier: Apache-2.0
"""Where the time of an answer goes: kernels by stage, their time, and the bytes that they need.

On a GPU the kernels that the stage starts are timed by the GPU itself, in a replay as well. On a
CPU the operators are. Bytes are counted where the stage runs as it is written, each tensor that an
operator reads or writes once: what kernels move that are not fused. The weights are counted apart.
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
    """A kernel of a stage, an operator on a CPU: how often one answer runs it, and for how long."""

    name: str
    calls: float
    time_ms: float


@dataclass(frozen=True, slots=True)
class StageProfile:
    """What a stage of an answer does on the device.

    Args:
        stage: ``backbone``, ``head``.
        wall_ms: From its beginning to its end, by the clock.
        kernels: The longest first.
        moved_bytes: Read and written by its operators as they are written.
        weight_bytes: Of its parameters, which are read at least once, the DiT's in each step.
    """

    stage: str
    wall_ms: float
    kernels: tuple[Kernel, ...]
    moved_bytes: int
    weight_bytes: int

    @property
    def calls(self) -> float:
        return sum(kernel.calls for kernel in self.kernels)

    @property
    def busy_ms(self) -> float:
        """Of all kernels together."""
        return sum(kernel.time_ms for kernel in self.kernels)

    def as_json(self) -> dict[str, Any]:
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
    plain: Callable[[], Any],
    module: nn.Module,
    device: torch.device,
) -> StageProfile:
    """Profile a stage.

    Args:
        stage: Its name.
        run: Runs it as answers do.
        plain: Runs it as it is written.
        module: Whose weights it reads.
        device: Where it runs.
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
        plain()
    parameters = {  # of an embedding only few rows are read
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
    """What `profile_stage` found, in lines: each stage's longest kernels."""
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
