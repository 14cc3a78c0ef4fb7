# SPDX-License-Identifier: Apache-2.0
"""Reception of two cameras, with and without the settings that the launch files make."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import product
from typing import Any

from bench.processes import MALLOC, ROOT, Worker, environment
from gr00t_ros.node.dds_domain import reserve_domain
from gr00t_ros.node.process_environment import (
    OLD_PROFILE_VARIABLE,
    PROFILE_VARIABLE,
    process_environment,
)

PROFILE = ROOT / "config" / "fastdds.xml"
PROFILES = ("default", PROFILE.name)


def measure(quick: bool, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """A row for each Fast DDS profile and malloc setting; rates in 1/s, times in s."""
    seconds = 3.0 if quick else 12.0
    settings = [(PROFILES[0], MALLOC[0]), (PROFILES[1], MALLOC[1])]
    if not quick:
        settings = list(product(PROFILES, MALLOC))
    rows = []
    for profile, malloc in settings:
        report(f"2 x 480x640 at 30 Hz, Fast DDS profile {profile}, malloc {malloc}: {seconds:g} s")
        rows.append({"profile": profile, "malloc": malloc, **measure_one(profile, malloc, seconds)})
    return rows


def measure_one(profile: str, malloc: str, seconds: float) -> dict[str, Any]:
    """One row: what a receiver of two cameras got within so many seconds."""
    domain, reservation = reserve_domain()
    env = _environment(profile, malloc, domain)
    with (
        reservation,
        Worker("bench.ros.publisher", env=env) as publisher,
        Worker("bench.ros.receiver", env=env) as receiver,
    ):
        publisher.read()
        receiver.read()
        receiver.ask("begin")
        published, start = publisher.ask("count"), time.monotonic()
        time.sleep(seconds)
        published = publisher.ask("count") - published
        elapsed_s = time.monotonic() - start
        return {"sent_per_s": published / elapsed_s, **receiver.ask("end")}


def _environment(profile: str, malloc: str, domain: int) -> dict[str, str]:
    local = {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    env = environment(malloc, local)
    for variable in (PROFILE_VARIABLE, OLD_PROFILE_VARIABLE):
        env.pop(variable, None)
    if profile == PROFILE.name:
        added = process_environment(PROFILE, inherited=env)
        env |= {name: value for name, value in added.items() if not name.startswith("MALLOC_")}
    return env
