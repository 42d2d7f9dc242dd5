"""Reads the messages of a request: their texts, their pictures (which the offline model cannot see), their tokens."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlbatch.server.http import ApiError, check_type, invalid_type, invalid_value
from sqlbatch.server.offline.tokens import count_tokens

# Tokens around each message (its start, role and end) and before the answer. Source: OpenAI's cookbook.
_MESSAGE_TOKENS, _ANSWER_TOKENS = 4, 3
_PICTURE_TOKENS = 765  # tokens of a picture of 1024 x 1024 pixels in high detail
_SIGNATURE_LENGTH = 1_024  # base64 characters that are decoded to find the type of a picture
_DATA_URL = re.compile(r"data:([\w/+.-]*)((?:;[\w=.%+ -]+)*?)(;base64)?,", re.IGNORECASE)
_KINDS_BY_ENDING = {"png": "PNG", "jpeg": "JPEG", "jpg": "JPEG", "webp": "WEBP", "gif": "GIF"}
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"\xff\xd8": "JPEG", b"RIFF": "WEBP"}
_UNSUPPORTED = (
    "You uploaded an unsupported image. Please make sure your image has of one the following formats: "
    "['png', 'jpeg', 'gif', 'webp']."
)


@dataclass(frozen=True)
class Picture:
    """The properties of a picture that its URL shows; `size` is in bytes."""

    kind: str | None
    size: int | None = None
    name: str | None = None

    def __str__(self) -> str:
        """Describe the picture in one sentence."""
        words = f"A {self.kind} picture" if self.kind else "A picture"
        words += f" of {self.size:,} bytes" if self.size else ""
        return words + (f" named {self.name}." if self.name else ".")


@dataclass
class Prompt:
    """The content of a request: the text and the pictures of the last user message, and the texts of all messages.

    `messages` is the number of messages, `schema_tokens` the tokens of the schema of the answer.
    """

    text: str = ""
    texts: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    messages: int = 0
    schema_tokens: int = 0

    @property
    def tokens(self) -> int:
        """The number of tokens of the whole request."""
        around = self.messages * _MESSAGE_TOKENS + _ANSWER_TOKENS + self.schema_tokens
        return around + sum(map(count_tokens, self.texts)) + _PICTURE_TOKENS * len(self.pictures)


def read_messages(messages: Any, name: str) -> Prompt:
    """Return the content of messages. The last user message is the one to answer. `name` is their parameter."""
    if not check_type(name, messages, list):
        message = (
            f"Invalid '{name}': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        raise ApiError(400, message, param=name, code="empty_array")
    prompt = Prompt()
    for index, message in enumerate(messages):
        check_type(f"{name}[{index}]", message, dict)
        prompt.messages += 1
        if "content" not in message:
            continue
        texts, pictures = _read_content(message["content"], f"{name}[{index}].content")
        prompt.texts.extend(texts)
        if message.get("role", "user") == "user":
            prompt.text, prompt.pictures = "\n".join(texts), pictures
    return prompt


def _read_content(content: object, name: str) -> tuple[list[str], list[Picture]]:
    if content is None or isinstance(content, str):
        return [content] if content is not None else [], []
    if not isinstance(content, list):
        raise invalid_type(name, str, content)
    texts, pictures = [], []
    for index, part in enumerate(content):
        check_type(f"{name}[{index}]", part, dict)
        kind = part.get("type")
        if kind in ("text", "input_text", "output_text"):  # a tuple, because `kind` may be unhashable
            texts.append(check_type(f"{name}[{index}].text", part.get("text"), str))
        elif kind in ("image_url", "input_image"):
            url = part.get("image_url")
            if kind == "image_url" and isinstance(url, dict):
                url = url.get("url")
            if url is None and part.get("file_id"):
                pictures.append(Picture(None, name=str(part["file_id"])))
            else:
                pictures.append(_picture(url, f"{name}[{index}].image_url"))
        else:
            raise invalid_value(f"{name}[{index}].type", kind, ["text", "image_url", "input_text", "input_image"])
    return texts, pictures


def _picture(url: object, param: str) -> Picture:
    """Return the properties of a picture from its URL: its data, or its file name. Nothing is downloaded."""
    if not isinstance(url, str) or not url:
        raise ApiError(400, "The image URL must be a string.", param=param, code="invalid_image_url")
    if url[:5].lower() != "data:":
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise ApiError(400, f"Invalid image URL: '{url[:200]}'.", param=param, code="invalid_image_url")
        name = unquote(parts.path.rsplit("/", 1)[-1]) or None
        return Picture(_KINDS_BY_ENDING.get((name or "").rsplit(".", 1)[-1].lower()), name=name)
    match = _DATA_URL.match(url[:1_000])
    bad = ApiError(400, "Invalid base64 image_url.", param=param, code="invalid_base64_image")
    if not match or not match[3]:
        raise bad
    data = url[match.end() :]
    try:
        head = base64.b64decode(
            data[:_SIGNATURE_LENGTH] if len(data) > _SIGNATURE_LENGTH else data + "=" * (-len(data) % 4), validate=True
        )
    except ValueError as error:
        raise bad from error
    kind = next((kind for start, kind in _SIGNATURES.items() if head.startswith(start)), None)
    if kind is None or (kind == "WEBP" and head[8:12] != b"WEBP"):
        raise ApiError(400, _UNSUPPORTED, param=param, code="unsupported_image_media_type")
    name = next((unquote(part[5:]) for part in match[2].split(";") if part.lower().startswith("name=")), None)
    return Picture(kind, len(data.rstrip("=")) * 3 // 4, name)
