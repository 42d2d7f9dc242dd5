"""What the offline model says of a picture: its type, size and file name. It does not see."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_HEAD = 256 * 1024  # base64 characters decoded to find a picture's size; metadata before it may be long
_DATA_URL = re.compile(r"data:([\w/+.-]*)((?:;[\w=.%+ -]+)*?)(;base64)?,", re.IGNORECASE)
_NAMES = {"png": "PNG", "jpeg": "JPEG", "jpg": "JPEG", "webp": "WEBP", "gif": "GIF"}


class BadPicture(ValueError):
    """A picture that OpenAI would refuse; `code` is its code for that."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Picture:
    """What can be known of a picture without seeing it; `size` is in bytes, `width` and `height` in pixels."""

    kind: str | None
    width: int | None = None
    height: int | None = None
    size: int | None = None
    name: str | None = None

    def __str__(self) -> str:
        """Return one sentence."""
        words = f"A {self.kind} picture" if self.kind else "A picture"
        if self.width and self.height:
            words += f" of {self.width} x {self.height} pixels"
        if self.size:
            words += f" and {self.size:,} bytes"
        return words + (f" named {self.name}." if self.name else ".")

    @property
    def tokens(self) -> int:
        """Return the tokens it counts for: 85, and 170 for every tile of 512 x 512 pixels."""
        width, height = self.width or 512, self.height or 512
        return 85 + 170 * min(16, -(-width // 512) * -(-height // 512))


def look_at(url: object) -> Picture:
    """Return what a picture's URL, of its bytes or of its place, says; nothing is fetched. Raises BadPicture."""
    if not isinstance(url, str) or not url:
        raise BadPicture("invalid_image_url", "The image URL must be a string.")
    if url[:5].lower() != "data:":
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise BadPicture("invalid_image_url", f"Invalid image URL: '{url[:200]}'.")
        name = unquote(parts.path.rsplit("/", 1)[-1]) or None
        return Picture(_NAMES.get((name or "").rsplit(".", 1)[-1].lower()), name=name)
    match = _DATA_URL.match(url[:1_000])
    if not match or not match[3]:
        raise BadPicture("invalid_base64_image", "Invalid base64 image_url.")
    data = url[match.end() :]
    try:
        head = base64.b64decode(data[:_HEAD] if len(data) > _HEAD else data + "=" * (-len(data) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPicture("invalid_base64_image", "Invalid base64 image_url.") from error
    size = len(data.rstrip("=")) * 3 // 4
    name = next((unquote(part[5:]) for part in match[2].split(";") if part.lower().startswith("name=")), None)
    kind, dimensions = _inspect(head)
    if kind is None:
        message = (
            "You uploaded an unsupported image. Please make sure your image has of one the following formats: "
            "['png', 'jpeg', 'gif', 'webp']."
        )
        raise BadPicture("unsupported_image_media_type", message)
    return Picture(kind, *dimensions, size=size, name=name)


def _inspect(head: bytes) -> tuple[str | None, tuple[int | None, int | None]]:
    """Return a picture's type by its first bytes, and its width and height where they are found."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG", struct.unpack(">II", head[16:24]) if len(head) >= 24 else (None, None)
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF", struct.unpack("<HH", head[6:10]) if len(head) >= 10 else (None, None)
    if head.startswith(b"\xff\xd8"):
        return "JPEG", _jpeg(head)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP", _webp(head)
    return None, (None, None)


def _jpeg(head: bytes) -> tuple[int | None, int | None]:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
        else:
            at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None, None


def _webp(head: bytes) -> tuple[int | None, int | None]:
    chunk = head[12:16]
    if chunk == b"VP8X" and len(head) >= 30:
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if chunk == b"VP8 " and len(head) >= 30:
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if chunk == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None, None
