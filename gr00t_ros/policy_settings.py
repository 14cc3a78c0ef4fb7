# SPDX-License-Identifier: Apache-2.0
"""What the parameters `policy.…` say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Where the policy runs, and how pictures travel there.

    `hosts` is empty for the one `host`; `token`, `server_key` and `keys` are None where the server
    asks for none.
    """

    backend: str
    host: str
    port: int
    hosts: tuple[str, ...]
    token: str | None
    server_key: str | None
    keys: str | None
    image_encoding: str
    quality: int
    resize: bool
    timeout_s: float
    model_path: str
    backbone_path: str | None
    embodiment_tag: str
    device: str

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> PolicySettings:
        """Of the values of all parameters, checked one by one."""
        return cls(
            backend=settings["policy.backend"],
            host=settings["policy.host"],
            port=settings["policy.port"],
            hosts=tuple(settings["policy.hosts"]),
            token=settings["policy.token"] or None,
            server_key=settings["policy.server_key"] or None,
            keys=settings["policy.keys"] or None,
            image_encoding=settings["policy.image_encoding"],
            quality=settings["policy.quality"],
            resize=settings["policy.resize"],
            timeout_s=float(settings["policy.timeout_s"]),
            model_path=settings["policy.model_path"],
            backbone_path=settings["policy.backbone_path"] or None,
            embodiment_tag=settings["policy.embodiment_tag"],
            device=settings["policy.device"],
        )
