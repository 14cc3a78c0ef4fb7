# SPDX-License-Identifier: Apache-2.0
"""Times the stages of a call without making the host wait for the device."""

from __future__ import annotations

import time

import torch


class Stopwatch:
    """Times the stages between calls of `lap`; on a GPU with events, which are read at the end.

    A stage that runs on the host while the GPU still computes counts its time on the host only.

    Args:
        device: The device of the stages that end with `device_lap`.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._start = time.perf_counter()
        self._last = self._start
        self._laps_s: dict[str, float] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._begin = self._event()

    def lap(self, stage: str) -> None:
        """End a stage that runs on the host."""
        now = time.perf_counter()
        self._laps_s[stage] = now - self._last
        self._last = now
        self._begin = self._event()

    def device_lap(self, stage: str) -> None:
        """End a stage that runs on the device."""
        if self._begin is None:
            self.lap(stage)
            return
        end = self._event()
        self._events.append((stage, self._begin, end))
        self._begin = end
        self._last = time.perf_counter()

    def resume(self) -> None:
        """Begin the next stage now; the wait before belongs to the device's stages."""
        self._last = time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """The time of each stage, and ``total`` since construction, s."""
        laps_s = dict(self._laps_s)
        for stage, begin, end in self._events:
            end.synchronize()
            laps_s[stage] = begin.elapsed_time(end) / 1e3
        laps_s["total"] = time.perf_counter() - self._start
        return laps_s

    def _event(self) -> torch.cuda.Event | None:
        if not self._on_gpu:
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
