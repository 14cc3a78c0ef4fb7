# SPDX-License-Identifier: Apache-2.0
"""The workspaces of a contract: what the tip of an arm never leaves. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from gr00t_policy_core.control.workspace import Side, box_sides, floor_side
from gr00t_ros.contract.limits import floats
from gr00t_ros.contract.parameter import Settings

SIZES = {"tool": 7, "box_min": 3, "box_max": 3, "floor": 4}


@dataclass(frozen=True, slots=True)
class WorkspaceSettings:
    """One workspace: the tool at `tip` stays inside of `sides`, in the frame of `base`.

    Args:
        key: Names it in the parameters.
        base: The link in whose frame box and floor are given.
        tip: The link that carries the tool.
        tool: The pose of the tool in the tip: x y z, m, and a quaternion x y z w.
        sides: Box and floor.
    """

    key: str
    base: str
    tip: str
    tool: tuple[float, ...]
    sides: tuple[Side, ...]

    @property
    def name(self) -> str:
        return f"workspace.{self.key}"

    @classmethod
    def of(cls, key: str, settings: Settings) -> WorkspaceSettings:
        """Make it from its parameters by short name, without `workspace_problems`."""
        a, b, c, d = floats(settings["floor"])
        floor = (floor_side(a, b, c, d),) if isfinite(d) else ()
        return cls(
            key=key,
            base=settings["base"],
            tip=settings["tip"],
            tool=floats(settings["tool"]),
            sides=(*box_sides(floats(settings["box_min"]), floats(settings["box_max"])), *floor),
        )


def workspace_problems(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each problem with one workspace.

    Args:
        settings: Its parameters by short name.
    """
    sizes = {name: len(floats(settings[name])) for name in SIZES}
    wrong = {name: size for name, size in sizes.items() if size != SIZES[name]}
    for name, size in wrong.items():
        yield f"{name} needs {SIZES[name]} values, got {size}"
    if wrong:
        return
    lower, upper = floats(settings["box_min"]), floats(settings["box_max"])
    for axis, low, high in zip("xyz", lower, upper, strict=True):
        if not low < high:
            yield f"box_min {axis} {low:g} must be below box_max {axis} {high:g}"
    *normal, height = floats(settings["floor"])
    if not any(normal) or not all(map(isfinite, normal)) or height == float("inf"):
        yield f"floor: a b c must be a direction and d finite, got {list(settings['floor'])}"
    if not any(floats(settings["tool"])[3:]):
        yield "tool: a quaternion of norm 0 is no rotation"
    if not any(map(isfinite, (*lower, *upper, height))):
        yield "has neither a box nor a floor: give box_min, box_max or floor"
