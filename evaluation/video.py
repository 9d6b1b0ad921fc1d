"""Video files of pictures, H.264 in MP4 or VP9 in WebM, which browsers and slides play."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gridbazaar.errors import MissingExtraError

try:
    import av
except ImportError as error:
    raise MissingExtraError("av", "video") from error

# Codec by a file's end, and its options: constant quality at which small letters stay sharp.
_CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "mp4": ("h264", {"crf": "20"}),
    "webm": ("libvpx-vp9", {"crf": "24", "b:v": "0", "cpu-used": "4"}),
}


def write(
    file: BinaryIO, kind: str, pictures: Iterable[NDArray[np.uint8]], fps: int, last_s: float
) -> None:
    """Write a video at a constant rate, whose last picture stays.

    Args:
        file: open for writing and seeking.
        kind: `mp4` or `webm`.
        pictures: at least one, of one shape [height, width, 3], both even: colours have half the
            resolution (4:2:0), the only one that all browsers decode.
        fps: pictures per second.
        last_s: how long the last one is shown, in seconds.
    """
    name, options = _CODECS[kind]
    with av.open(file, "w", format=kind) as container:
        stream: Any = container.add_stream(name, rate=fps, options=options)
        stream.pix_fmt = "yuv420p"

        def add(picture: NDArray[np.uint8]) -> None:
            stream.height, stream.width = picture.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))

        for picture in pictures:
            add(picture)
        for _ in range(round(last_s * fps) - 1):  # players disagree on how long a last one lasts
            add(picture)
        container.mux(stream.encode())
