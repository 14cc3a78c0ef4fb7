# SPDX-License-Identifier: Apache-2.0
"""JPEG images that are passed on, undecoded, to a server that decodes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gr00t_policy_core.errors import ProtocolError
from gr00t_policy_core.serving import JpegVideo
from gr00t_policy_core.serving.wire.jpeg import MAX_PIXELS, check_jpeg
from gr00t_ros.interfaces.interface import ConversionError

# Markers of ITU-T T.81, table B.1: the frame headers that TurboJPEG decodes, and where EXIF is.
JPEG_START, _EXIF = b"\xff\xd8", 0xE1
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive; Huffman
_DEPTH = re.compile(r"(?:16|32|64)[USF]C1")


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """The header of a JPEG, read without decoding the image.

    Height and width are in px, `bits` are those of one sample.

    Args:
        components: 1 for grey, 3 for colours, 4 for colours of a printer (CMYK).
        has_exif: Whether it has an EXIF block, which may ask for a rotation. OpenCV rotates,
            TurboJPEG does not.
    """

    height: int
    width: int
    bits: int
    components: int
    has_exif: bool

    @classmethod
    def of(cls, data: Any) -> JpegHeader | None:
        """Parse the header in a buffer; None if it is not a JPEG that TurboJPEG decodes."""
        view = memoryview(data)
        if view[:2] != JPEG_START:
            return None
        at, has_exif = 2, False
        while at + 10 <= len(view) and view[at] == 0xFF:
            marker, length = view[at + 1], int.from_bytes(view[at + 2 : at + 4], "big")
            if marker in _FRAMES:
                size = (int.from_bytes(view[at + i : at + i + 2], "big") for i in (5, 7))
                return cls(*size, bits=view[at + 4], components=view[at + 9], has_exif=has_exif)
            has_exif |= marker == _EXIF
            at += 2 + length
        return None

    @property
    def can_pass_through(self) -> bool:
        """Whether a server decodes the image to the same pixels as this node."""
        is_plain = self.bits == 8 and self.components in (1, 3) and not self.has_exif
        return is_plain and 0 < self.height * self.width <= MAX_PIXELS


def jpeg_video(messages: Sequence[Any]) -> JpegVideo | None:
    """Wrap the T images of one camera without decoding; None if this node must decode them.

    Args:
        messages: In the order of time, sensor_msgs/CompressedImage or anything else.

    Returns:
        The wire's substitute for uint8 (1, T, H, W, 3).
    """
    if not all(hasattr(message, "format") for message in messages):
        return None
    if any(names_depth(message.format) for message in messages):
        return None
    headers = [JpegHeader.of(message.data) for message in messages]
    if any(header is None or not header.can_pass_through for header in headers):
        return None
    sizes = {(header.height, header.width) for header in headers if header is not None}
    if len(sizes) > 1:
        return None
    frames = [bytes(message.data) for message in messages]
    return JpegVideo(frames, (1, len(frames), *sizes.pop(), 3))


def names_depth(image_format: str) -> bool:
    """Whether the format of a sensor_msgs/CompressedImage says that it is a depth image."""
    original, _, _ = image_format.partition(";")
    return "compressedDepth" in image_format or bool(_DEPTH.fullmatch(original.strip()))


def require_complete(message: Any) -> None:
    """Check an image that is passed on without decoding.

    Args:
        message: A sensor_msgs/CompressedImage that holds a JPEG.

    Raises:
        ConversionError: The JPEG is damaged; a server would refuse it.
    """
    try:
        check_jpeg(message.data)
    except (ProtocolError, ImportError) as error:
        raise ConversionError(f"{len(message.data)} bytes: {error}") from error
