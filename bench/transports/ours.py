# SPDX-License-Identifier: Apache-2.0
"""Our server and client as users get them, with all checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench import workload
from bench.transports import Ask, Ready
from bench.workload import HORIZON, PROMPT_KEY, STATE_KEY, Size
from gr00t_policy_core import (
    ActionConfig,
    ModalityConfig,
    ModalityPolicy,
    PolicyClient,
    PolicyServer,
)

HOST = "127.0.0.1"


class FreePolicy(ModalityPolicy):
    """A policy that costs next to nothing; it and its client are strict, the default."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        absolute = ActionConfig("ABSOLUTE", "NON_EEF", "DEFAULT")
        self._configs = {
            "video": ModalityConfig([0], workload.camera_keys(size)),
            "state": ModalityConfig([0], [STATE_KEY]),
            "action": ModalityConfig(list(range(HORIZON)), [STATE_KEY], action_configs=[absolute]),
            "language": ModalityConfig([0], [PROMPT_KEY]),
        }

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return self._configs

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return {STATE_KEY: workload.answer(observation)}, {}


class OursTcp:
    """PolicyServer and PolicyClient."""

    def serve(self, size: Size, ready: Ready) -> None:
        server = PolicyServer(FreePolicy(size), host=HOST, port=0)
        ready(server.port)
        server.run()

    @contextmanager
    def connect(self, size: Size, address: str) -> Iterator[Ask]:
        with PolicyClient(HOST, int(address)) as client:
            yield lambda observation: client.get_action(observation)[0][STATE_KEY]


TCP = OursTcp()
