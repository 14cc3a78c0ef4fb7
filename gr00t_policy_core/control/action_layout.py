# SPDX-License-Identifier: Apache-2.0
"""Action keys side by side in one vector, and the arithmetic that their values allow.

A pose is x y z and a unit quaternion x y z w: its rotation is composed, not added (SO(3)).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from gr00t_policy_core import rotation
from gr00t_policy_core.control.chunk import Chunk, Row

POSE_DIMENSION = 7
LINEAR, ANGULAR = slice(0, 3), slice(3, None)  # the two parts of a pose, and of a twist


class ActionLayout:
    """Where each action key lies in the vector of all of them.

    Attributes:
        dimensions: Values per step by action key, in the order of the vector.
        slices: Where each key lies in the vector.
        size: Length of the vector.
        poses: The keys that are poses.
        rotations: Where the quaternion of each pose lies.
        is_velocity: bool (size,): the value is a velocity.

    Args:
        dimensions: Values per step by action key.
        poses: The keys that are poses, of 7 values.
        velocities: The keys that are velocities (or deltas): to stand still is to command zero.
        names: Joint names by key, one per value; keys without joints are left out.

    Raises:
        ValueError: A pose does not have 7 values.
    """

    def __init__(
        self,
        dimensions: Mapping[str, int],
        poses: Collection[str] = (),
        velocities: Collection[str] = (),
        names: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.dimensions = dict(dimensions)
        self.slices: dict[str, slice] = {}
        self.size = 0
        for key, dimension in self.dimensions.items():
            self.slices[key] = slice(self.size, self.size + dimension)
            self.size += dimension
        wrong = [key for key in poses if self.dimensions.get(key) != POSE_DIMENSION]
        if wrong:
            raise ValueError(f"a pose has {POSE_DIMENSION} values, {wrong} have another number")
        self.poses = tuple(poses)
        self.rotations = tuple(
            slice(self.slices[key].start + 3, self.slices[key].stop) for key in poses
        )
        self.is_velocity = np.zeros(self.size, dtype=bool)
        for key in velocities:
            self.is_velocity[self.slices[key]] = True
        self._names = {key: tuple(of_key) for key, of_key in (names or {}).items()}

    def rows(self, chunk: Chunk) -> Row:
        """The steps of a chunk, float64 (horizon, size)."""
        return np.concatenate([chunk.actions[key] for key in self.dimensions], axis=1)

    def split(self, vector: Row) -> dict[str, Row]:
        """A vector by action key: views of it."""
        return {key: vector[part] for key, part in self.slices.items()}

    def name_of(self, index: int) -> str:
        """The joint name of one value of the vector, or its key and the place in it.

        Raises:
            IndexError: The vector has no such value.
        """
        for key, part in self.slices.items():
            if part.start <= index < part.stop:
                names = self._names.get(key)
                if names:
                    return str(names[index - part.start])
                return f"{key}[{index - part.start}]"
        raise IndexError(f"no value {index} in a vector of {self.size}")

    def interpolate(self, start: Row, end: Row, share: float) -> Row:
        """The vector (size,) at a share, 0 to 1, of the way: straight, rotations on the sphere."""
        vector = start + share * (end - start)
        for part in self.rotations:
            vector[part] = rotated(start[part], share * relative_rotvec(end[part], start[part]))
        return vector

    def offset(self, to: Row, origin: Row, near: Row | None = None) -> Row:
        """What `with_offset` adds to `origin` to get `to`, float64 (size,).

        The four values of a quaternion hold a rotation vector, rad, and a zero.

        Args:
            to, origin: The two vectors, float64 (size,); the offset leads from `origin` to `to`.
            near: An offset of a moment before: a rotation takes the way round that is closer to
                its.
        """
        vector = to - origin
        for part in self.rotations:
            rotvec = relative_rotvec(to[part], origin[part])
            vector[part] = 0.0
            vector[part][:3] = rotvec if near is None else _way_round(rotvec, near[part][:3])
        return vector

    def with_offset(self, origin: Row, offset: Row) -> Row:
        """`origin` moved and rotated by an offset, float64 (size,)."""
        vector = origin + offset
        for part in self.rotations:
            vector[part] = rotated(origin[part], offset[part][:3])
        return vector

    def speed(self, origin: Row, to: Row, dt_s: float) -> Row:
        """How fast the values go from one vector to another within `dt_s`, float64 (size,), per s.

        Each value of a quaternion has the speed of the whole rotation, rad/s; a velocity is its
        own.
        """
        speed = np.abs(to - origin) / dt_s
        for part in self.rotations:
            speed[part] = np.linalg.norm(relative_rotvec(to[part], origin[part])) / dt_s
        is_velocity = self.is_velocity
        speed[is_velocity] = np.maximum(np.abs(origin[is_velocity]), np.abs(to[is_velocity]))
        return speed

    def mean(self, vectors: Row, weights: Row) -> Row:
        """The weighted mean of vectors (n, size); of rotations the normalised chordal mean."""
        shares = weights / weights.sum()
        vector = shares @ vectors
        for part in self.rotations:
            quaternions = rotation.continuous_quaternions(vectors[:, part])
            mean = shares @ quaternions
            vector[part] = mean / np.linalg.norm(mean)
        return np.asarray(vector)


def relative_rotvec(to: Row, origin: Row) -> Row:
    """The rotation vector (3,), rad, that takes one unit quaternion into another."""
    conjugate = origin * np.array([-1.0, -1.0, -1.0, 1.0])
    return rotation.rotvec_from_quaternion(rotation.quaternion_product(to, conjugate))


def rotated(quaternion: Row, rotvec: Row) -> Row:
    """A unit quaternion rotated by a rotation vector (3,), rad, in the fixed frame."""
    return rotation.quaternion_product(rotation.quaternion_from_rotvec(rotvec), quaternion)


def _way_round(rotvec: Row, near: Row) -> Row:
    """Of the two rotation vectors of one rotation that lie on its axis, the one closer to `near`.

    Around half a turn the shorter way flips from one side to the other.
    """
    angle = float(np.linalg.norm(rotvec))
    if not angle:
        return rotvec
    other = rotvec * (1.0 - 2.0 * np.pi / angle)
    return min(rotvec, other, key=lambda way: float(np.linalg.norm(way - near)))
