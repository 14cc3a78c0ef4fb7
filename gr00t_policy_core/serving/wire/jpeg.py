# SPDX-License-Identifier: Apache-2.0
"""Images on the wire, smaller for slow networks: as JPEG (needs simplejpeg), or resized.

Instead of a video's array a message then holds ``{"__jpeg__": true, "shape": [B, T, H, W, 3],
"frames": [bytes, …]}``, B * T images in the order of the axes. JPEG is lossy: with quality 90 an
image of 480 x 640 takes about a twelfth of its size.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gr00t_policy_core.errors import ProtocolError, SpecError
from gr00t_policy_core.modality import MAPPING_TYPES
from gr00t_policy_core.resize import FirstResize, saves_pixels

CAPABILITY = "jpeg"
MARKER = "__jpeg__"
MAX_PIXELS = 2**25  # of one image: 33 megapixels
MAX_VIDEO_BYTES = 2**28  # of all videos of a message, decoded

Video = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class JpegVideo:
    """A camera's images that are JPEG already, to be sent unchanged.

    Args:
        frames: B * T images, RGB or grey, in the order of the axes.
        shape: ``(B, T, H, W, 3)`` of the decoded array.

    Raises:
        SpecError: The number of images is not B * T.
    """

    frames: Sequence[bytes]
    shape: tuple[int, int, int, int, int]

    def __post_init__(self) -> None:
        if len(self.shape) != 5 or len(self.frames) != self.shape[0] * self.shape[1]:
            raise SpecError(
                "bad video", [f"{len(self.frames)} images for shape {self.shape} (B, T, H, W, 3)"]
            )

    def placeholder(self) -> Video:
        """An array of that shape that takes no memory, for checks of an observation."""
        return np.broadcast_to(np.uint8(0), self.shape)

    def decode(self) -> Video:
        """Decode all images, uint8 (B, T, H, W, 3) RGB."""
        return _decode({"shape": list(self.shape), "frames": list(self.frames)})


def is_available() -> bool:
    """Whether simplejpeg is installed."""
    return importlib.util.find_spec("simplejpeg") is not None


def require() -> None:
    """Raise an ImportError that names the extra to install if simplejpeg is missing."""
    if not is_available():
        raise ImportError(
            "JPEG needs simplejpeg: pip install simplejpeg, or '.[jpeg]' of gr00t_ros"
        )


def decode_jpeg(frame: Any, out: Video | None = None) -> Video:
    """Decode a JPEG to uint8 (H, W, 3) RGB.

    Strict, in the node, the client and the server alike: what libjpeg only warns of (a truncated
    frame, damage that it detects, superfluous bytes) is an error, since it decodes missing parts
    as grey. Damage that leaves a valid JPEG of another image cannot be detected.

    Args:
        frame: The bytes of one JPEG file.
        out: Array to write to, C-contiguous and of the image's size; None makes one.

    Raises:
        ProtocolError: The frame is not a JPEG, or it is damaged.
        ImportError: simplejpeg is not installed.
    """
    require()
    import simplejpeg

    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(frame)
        if height * width <= MAX_PIXELS:
            return np.asarray(simplejpeg.decode_jpeg(frame, "RGB", buffer=out, strict=True))
    except ValueError as error:
        raise ProtocolError(f"a damaged JPEG: {error}") from None
    raise ProtocolError(f"a JPEG of {width}x{height} pixels: at most {MAX_PIXELS} are decoded")


def check_jpeg(frame: Any) -> None:
    """Raise as `decode_jpeg` does, in less than half of its time (0.7 ms for 480 x 640).

    It reads all of the data, but computes grey values only, at an eighth of the size.
    """
    require()
    import simplejpeg

    try:
        simplejpeg.decode_jpeg(frame, "GRAY", min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        raise ProtocolError(f"a damaged JPEG: {error}") from None


def with_placeholders(observation: Any) -> Any:
    """Return the observation with a placeholder instead of each `JpegVideo`, for checks."""
    if not _has_jpeg_videos(observation):
        return observation
    return _replaced(observation, _is_jpeg_video, JpegVideo.placeholder)


def to_pixels(observation: Any) -> Any:
    """Decode every `JpegVideo` of an observation, for a server that does not accept JPEG."""
    if not _has_jpeg_videos(observation):
        return observation
    return _replaced(observation, _is_jpeg_video, JpegVideo.decode)


def to_jpeg(observation: Any, quality: int) -> Any:
    """Encode every video of an observation as JPEG, for a server that accepts it.

    Args:
        observation: Nested or flat; only uint8 arrays of shape (B, T, H, W, 3) are encoded.
        quality: The JPEG quality, from 1 to 100.
    """
    return _replaced(
        observation,
        lambda video: _is_jpeg_video(video) or _is_pixels(video),
        lambda video: _encode(video, quality),
    )


def from_jpeg(observation: Any, cameras: Mapping[str, int] | None = None) -> Any:
    """Decode the videos of an observation: the inverse of `to_jpeg`, apart from the JPEG loss.

    All videos are checked before any of them is decoded.

    Args:
        observation: An observation in nested form, or with flat keys as ``video.front``.
        cameras: The T of each camera that the policy reads; other cameras are left out, as the
            policy ignores them. None where that is not known.

    Raises:
        ProtocolError: An image is not a JPEG, does not have the announced shape, or is too large;
            or all videos together are too large.
    """
    if not isinstance(observation, MAPPING_TYPES) or not any(map(is_jpeg, _entries(observation))):
        return observation
    if cameras is not None:
        observation = _without_other_cameras(observation, cameras)
    videos = [entry for entry in _entries(observation) if is_jpeg(entry)]
    for video in videos:
        _check(video.get("shape"), video.get("frames"))
    size = sum(math.prod(video["shape"]) for video in videos)
    if size > MAX_VIDEO_BYTES:
        raise ProtocolError(f"JPEG videos of {size} bytes in all: at most {MAX_VIDEO_BYTES}")
    return _replaced(observation, is_jpeg, _decode)


def is_jpeg(value: Any) -> bool:
    """Whether a decoded value is a video as JPEG."""
    return isinstance(value, dict) and value.get(MARKER) is True


def video_bytes(data: Any) -> int:
    """Bytes of all videos in the data of a request for actions."""
    if isinstance(data, np.ndarray):
        return data.nbytes if _is_pixels(data) else 0
    return sum(map(video_bytes, data.values())) if isinstance(data, MAPPING_TYPES) else 0


def announced_rows(video: Mapping[str, Any]) -> int:
    """The B that a JPEG video announces; 0 where it announces none."""
    shape = video.get("shape")
    first = shape[0] if isinstance(shape, list) and shape else 0
    return first if type(first) is int else 0


def _without_other_cameras(observation: Mapping[Any, Any], cameras: Mapping[str, int]) -> Any:
    """The observation without the JPEG videos of other cameras.

    Raises:
        ProtocolError: The T of a video is not that of its camera.
    """

    def is_selected(key: Any, value: Any) -> bool:
        if not is_jpeg(value):
            return True
        name = key.removeprefix("video.") if isinstance(key, str) else key
        if name not in cameras:
            return False
        shape = value.get("shape")
        if isinstance(shape, list) and len(shape) == 5 and shape[1] != cameras[name]:
            raise ProtocolError(
                f"a JPEG video of shape {shape} for {name!r}, whose T is {cameras[name]}"
            )
        return True

    kept = {key: value for key, value in observation.items() if is_selected(key, value)}
    videos = kept.get("video")
    if isinstance(videos, MAPPING_TYPES):
        kept["video"] = {key: video for key, video in videos.items() if is_selected(key, video)}
    return kept


def resized(observation: Any, first: FirstResize) -> Any:
    """Resize every video of an observation as the policy does first, if that is smaller.

    Args:
        observation: Nested or flat; only uint8 arrays of shape (B, T, H, W, 3) are changed.
        first: The resizing that the policy reports.
    """

    def is_larger(video: Any) -> bool:
        return _is_pixels(video) and saves_pixels(first, *video.shape[2:4])

    def change(video: Video) -> Video:
        size = first.size(*video.shape[2:4])
        small = np.empty((*video.shape[:2], *size, 3), np.uint8)
        for at in np.ndindex(video.shape[:2]):
            small[at] = first(video[at])
        return small

    return _replaced(observation, is_larger, change)


def _replaced(
    observation: Any, is_selected: Callable[[Any], bool], change: Callable[[Any], Any]
) -> Any:
    """The observation with the selected videos changed; itself where none is selected."""
    if not isinstance(observation, MAPPING_TYPES) or not any(
        map(is_selected, _entries(observation))
    ):
        return observation
    changed = {}
    for key, value in observation.items():
        if key == "video" and isinstance(value, MAPPING_TYPES):
            changed[key] = {
                name: change(video) if is_selected(video) else video
                for name, video in value.items()
            }
        else:
            changed[key] = change(value) if is_selected(value) else value
    return changed


def _entries(observation: Mapping[Any, Any]) -> list[Any]:
    """All values that can be videos, nested or flat."""
    videos = observation.get("video")
    if isinstance(videos, MAPPING_TYPES):
        return [*videos.values(), *observation.values()]
    return [*observation.values()]


def _encode(video: Any, quality: int) -> Any:
    import simplejpeg

    if isinstance(video, JpegVideo):
        return {MARKER: True, "shape": list(video.shape), "frames": list(video.frames)}
    images = np.ascontiguousarray(video).reshape(-1, *video.shape[2:])
    frames = [simplejpeg.encode_jpeg(image, quality, "RGB", "420") for image in images]
    return {MARKER: True, "shape": list(video.shape), "frames": frames}


def _has_jpeg_videos(observation: Any) -> bool:
    """Whether there is a `JpegVideo` at all; a quick look, since most observations have none."""
    return isinstance(observation, MAPPING_TYPES) and JpegVideo in map(type, _entries(observation))


def _is_jpeg_video(video: Any) -> bool:
    return isinstance(video, JpegVideo)


def _is_pixels(video: Any) -> bool:
    if not isinstance(video, np.ndarray) or video.dtype != np.uint8:
        return False
    return video.ndim == 5 and video.shape[-1] == 3 and 0 not in video.shape


def _decode(fields: dict[str, Any]) -> Video:
    require()
    import simplejpeg

    shape: Any = fields.get("shape")
    frames: Any = fields.get("frames")
    _check(shape, frames)
    batch, steps, height, width, _ = shape
    # Headers before pixels: decoding allocates what they announce.
    for frame in frames:
        try:
            announced = simplejpeg.decode_jpeg_header(frame)[:2]
        except ValueError:
            raise ProtocolError("an image that is not a JPEG") from None
        if tuple(announced) != (height, width):
            raise ProtocolError(f"a JPEG of {announced} where ({height}, {width}) was announced")
    video = np.empty((batch * steps, height, width, 3), np.uint8)
    for row, frame in zip(video, frames, strict=True):
        decode_jpeg(frame, row)
    video = video.reshape(shape)
    video.flags.writeable = False  # like every array of a decoded message
    return video


def _check(shape: Any, frames: Any) -> None:
    if not isinstance(shape, list) or len(shape) != 5 or shape[4] != 3:
        raise ProtocolError("a JPEG video's shape must be [B, T, H, W, 3]")
    if any(type(size) is not int or size < 1 for size in shape):
        raise ProtocolError("a JPEG video's shape must be of sizes of at least 1")
    if shape[2] * shape[3] > MAX_PIXELS or math.prod(shape) > MAX_VIDEO_BYTES:
        raise ProtocolError(
            f"a JPEG video of shape {shape}: at most {MAX_PIXELS} pixels per image and "
            f"{MAX_VIDEO_BYTES} bytes in all"
        )
    if not isinstance(frames, list) or len(frames) != shape[0] * shape[1]:
        raise ProtocolError(f"a JPEG video of shape {shape} needs {shape[0] * shape[1]} images")
    if not all(isinstance(frame, bytes) for frame in frames):
        raise ProtocolError("a JPEG video's images must be bytes")
