# SPDX-License-Identifier: Apache-2.0
"""Where a parameter can have an effect: with which backend, interface, or other parameter. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

JOINT_INTERFACES = ("joint_trajectory", "joint_state")
INTERFACES = (*JOINT_INTERFACES, "float64_multi_array", "pose_stamped", "twist_stamped")
BODY_INTERFACES = ("pose_stamped", "twist_stamped")
POSITION_INTERFACES = (*JOINT_INTERFACES, "pose_stamped")

Settings = Mapping[str, Any]
"""The value of every parameter by its full name, its default where none was given."""


@dataclass(frozen=True, slots=True)
class Use:
    """Where a parameter can have an effect; given elsewhere, it is refused.

    Args:
        text: What it takes, to be read after "only with".
        holds: Whether that is so, by all settings and the prefix of the key (``action.arm.``).
    """

    text: str
    holds: Callable[[Settings, str], bool]


def _interface(*names: str) -> Use:
    return Use(f"interface: {' or '.join(names)}", lambda s, key: s[f"{key}interface"] in names)


def _has_limits(settings: Settings, key: str) -> bool:
    return bool(settings[f"{key}joints"]) and NAMED.holds(settings, key)


def _has_positions(settings: Settings, key: str) -> bool:
    return _has_limits(settings, key) and settings[f"{key}when_holding"] == "last"


def _has_places(settings: Settings, key: str) -> bool:
    is_array = ARRAYS.holds(settings, key) and settings[f"{key}when_holding"] == "last"
    return is_array or settings[f"{key}interface"] in POSITION_INTERFACES


def _any_action(holds: Callable[[Settings, str], bool]) -> Callable[[Settings, str], bool]:
    def any_holds(settings: Settings, _: str) -> bool:
        keys = [n.removesuffix("interface") for n in settings if n.endswith(".interface")]
        return any(holds(settings, key) for key in keys)

    return any_holds


def _is_measured(settings: Settings, key: str) -> bool:
    return _has_places(settings, key) and not settings[f"{key}unmeasured"]


def _host_is_asked(settings: Settings, _: str) -> bool:
    host, hosts = settings["policy.host"], settings["policy.hosts"]
    is_listed = host in hosts or host in [one.rpartition(":")[0] for one in hosts]
    return SERVER.holds(settings, "") and (is_listed or not hosts)


SERVER = Use("policy.backend: server", lambda s, _: s["policy.backend"] == "server")
LOCAL = Use("policy.backend: local", lambda s, _: s["policy.backend"] == "local")
ONE_HOST = Use("policy.backend: server, and no policy.hosts without it", _host_is_asked)
JPEG = Use(
    "policy.image_encoding: jpeg",
    lambda s, _: SERVER.holds(s, "") and s["policy.image_encoding"] == "jpeg",
)
ASYNC = Use("inference: async", lambda s, _: s["inference"] == "async")
FADED = Use("blend: offset_fade or rtc", lambda s, _: s["blend"] in ("offset_fade", "rtc"))
GATED = Use("enable_topic", lambda s, _: bool(s["enable_topic"]))
OF_JOINT_STATE = Use("joints", lambda s, key: bool(s[f"{key}joints"]))
NAMED = _interface(*JOINT_INTERFACES, "float64_multi_array")
ARRAYS = _interface("float64_multi_array")
POSES = _interface("pose_stamped")
BODIES = _interface(*BODY_INTERFACES)
LIMITED = Use("joints", _has_limits)
POSITIONS = Use("joints that are commanded in position", _has_positions)
PLACES = Use("positions of joints, or interface: pose_stamped", _has_places)
MEASURED = Use("positions or a pose that a state measures", _is_measured)
ANY_JOINTS = Use("an action that has joints", _any_action(_has_limits))
ANY_MEASURED = Use("an action that commands measured places", _any_action(_is_measured))
