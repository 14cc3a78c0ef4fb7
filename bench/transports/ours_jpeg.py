# SPDX-License-Identifier: Apache-2.0
"""Our server and client with cameras as JPEG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.transports import Ask
from bench.transports.ours import HOST, OursTcp, asking
from bench.workload import Size
from gr00t_policy_core import PolicyClient
from gr00t_policy_core.serving.wire import jpeg

QUALITY = 90

jpeg.require()


class OursJpeg(OursTcp):
    """Over TCP; the policy sees what the JPEG kept."""

    @contextmanager
    def connect(self, size: Size, address: str) -> Iterator[Ask]:
        with PolicyClient(HOST, int(address), image_encoding="jpeg", quality=QUALITY) as client:
            yield asking(client)

    def arriving(self, observation: dict[str, Any]) -> dict[str, Any]:
        seen: dict[str, Any] = jpeg.from_jpeg(jpeg.to_jpeg(observation, QUALITY))
        return seen


JPEG = OursJpeg()
