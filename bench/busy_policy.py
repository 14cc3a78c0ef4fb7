# SPDX-License-Identifier: Apache-2.0
"""A policy that keeps a core and its process's GIL busy: python -m bench.busy_policy serves it.

Tells the server's port; ends with stdin.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from bench.processes import end_with_stdin, tell
from bench.ros.robot import CONFIGS, JOINTS
from gr00t_policy_core import ModalityConfig, ModalityPolicy, PolicyServer

HOST = "127.0.0.1"
CPU_S = 0.1  # of each answer, in pure Python
HORIZON = 16
REACH_RAD = 0.02


class BusyPolicy(ModalityPolicy):
    """Moves every joint of the benchmarks' robot a little away from where it is, and back."""

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return {**CONFIGS, "action": ModalityConfig(list(range(HORIZON)), ["arm"])}

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        return {"state": {"arm": len(JOINTS)}, "action": {"arm": len(JOINTS)}}

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        burn(CPU_S)
        return {"arm": excursion(observation["state"]["arm"])}, {}


def burn(cpu_s: float) -> None:
    """Compute in pure Python, which holds the GIL, for so much CPU time of this thread."""
    end_s = time.thread_time() + cpu_s
    while time.thread_time() < end_s:
        sum(math.sqrt(number) for number in range(1000))


def excursion(state: np.ndarray) -> np.ndarray:
    """A chunk, float32 (B, HORIZON, D) in rad, from a state (B, T, D) and back."""
    phase = np.linspace(0.0, math.pi, HORIZON, dtype=np.float32)[None, :, None]
    return np.asarray(state[:, -1:] + REACH_RAD * np.sin(phase), dtype=np.float32)


def main() -> None:
    end_with_stdin()
    server = PolicyServer(BusyPolicy(), host=HOST, port=0)
    tell(server.port)
    server.run()


if __name__ == "__main__":
    main()
