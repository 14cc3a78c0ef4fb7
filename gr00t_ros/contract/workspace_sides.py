# SPDX-License-Identifier: Apache-2.0
"""The box and the floor of a workspace, from their parameters. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gr00t_policy_core.control.workspace import Side, box_sides, floor_side
from gr00t_ros.contract.parameter import Parameter, Settings

SIDES_PARAMETERS = (
    Parameter("box_min", [-math.inf] * 3, "m, smallest x y z of the tool"),
    Parameter("box_max", [math.inf] * 3, "m, largest x y z of the tool"),
    Parameter(
        "floor",
        [0.0, 0.0, 1.0, -math.inf],
        "a b c d: the tool stays where a·x + b·y + c·z >= d, m; 0 0 1 0.02 is 2 cm above the base",
    ),
)
SIZES = {"box_min": 3, "box_max": 3, "floor": 4}


def sides_of(settings: Settings) -> tuple[Side, ...]:
    """Return the sides of `SIDES_PARAMETERS`, without `sides_problems`; none where none is given.

    Args:
        settings: The parameters by short name.
    """
    a, b, c, d = map(float, settings["floor"])
    floor = (floor_side(a, b, c, d),) if math.isfinite(d) else ()
    return (*box_sides(settings["box_min"], settings["box_max"]), *floor)


def sides_problems(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each problem with the sides.

    Args:
        settings: The parameters by short name.
    """
    wrong = list(size_problems(settings, SIZES))
    yield from wrong
    if wrong:
        return
    for axis, low, high in zip("xyz", settings["box_min"], settings["box_max"], strict=True):
        if not low < high:
            yield f"box_min {axis} {low:g} must be below box_max {axis} {high:g}"
    *normal, height = settings["floor"]
    try:
        floor = floor_side(*normal, height)
    except ValueError:
        floor = None
    if floor is None or not all(map(math.isfinite, normal)) or height == math.inf:
        yield f"floor: a b c must be a direction and d finite, got {list(settings['floor'])}"
    elif _highest(floor, settings) < floor.offset_m:
        yield f"floor {list(settings['floor'])} leaves nothing of the box"


def _highest(side: Side, settings: Settings) -> float:
    """How far along the normal of a side the farthest corner of the box is, m."""
    corners = zip(side.normal, settings["box_min"], settings["box_max"], strict=True)
    return sum(max(part * low, part * high) for part, low, high in corners if part)


def size_problems(settings: Settings, sizes: dict[str, int]) -> Iterator[str]:
    """Yield a sentence for each parameter that has a wrong number of values."""
    for name, size in sizes.items():
        value = settings[name]
        found = len(value) if isinstance(value, list) else 1
        if found != size:
            yield f"{name} needs {size} values, got {found}"
