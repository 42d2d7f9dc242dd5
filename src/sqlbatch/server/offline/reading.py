"""Reading a request's messages: their texts and pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlbatch.server.envelope import ApiError, invalid_type, invalid_value
from sqlbatch.server.offline.pictures import BadPicture, Picture, look_at
from sqlbatch.server.offline.tokens import ANSWER_TOKENS, MESSAGE_TOKENS, count_tokens


@dataclass
class Asked:
    """What a request says: the last user message's text and pictures, all text there is, and the tokens of it.

    `turns` are its messages, `extra` the tokens of what else the model is shown: the schema of its answer.
    """

    text: str = ""
    everything: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    turns: int = 0
    extra: int = 0

    @property
    def tokens(self) -> int:
        """The tokens of the whole request."""
        around = self.turns * MESSAGE_TOKENS + ANSWER_TOKENS + self.extra
        return around + sum(map(count_tokens, self.everything)) + sum(picture.tokens for picture in self.pictures)


def read_messages(messages: object, name: str) -> Asked:
    """Collect the texts of all messages; the last user message is what is answered."""
    if not isinstance(messages, list):
        raise invalid_type(name, "an array", messages)
    if not messages:
        message = (
            f"Invalid '{name}': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        raise ApiError(400, message, param=name, code="empty_array")
    asked = Asked()
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise invalid_type(f"{name}[{index}]", "an object", message)
        asked.turns += 1
        if "content" not in message:
            continue
        texts, pictures = _read_content(message["content"], f"{name}[{index}].content")
        asked.everything.extend(texts)
        if message.get("role", "user") == "user":
            asked.text, asked.pictures = "\n".join(texts), pictures
    return asked


def _read_content(content: object, name: str) -> tuple[list[str], list[Picture]]:
    if content is None:
        return [], []
    if isinstance(content, str):
        return [content], []
    if not isinstance(content, list):
        raise invalid_type(name, "a string", content)
    texts, pictures = [], []
    for index, part in enumerate(content):
        if not isinstance(part, dict):
            raise invalid_type(f"{name}[{index}]", "an object", part)
        kind = part.get("type")
        if kind in {"text", "input_text", "output_text"}:
            if not isinstance(part.get("text"), str):
                raise invalid_type(f"{name}[{index}].text", "a string", part.get("text"))
            texts.append(part["text"])
        elif kind in {"image_url", "input_image"}:
            url = part.get("image_url")
            if kind == "image_url" and isinstance(url, dict):
                url = url.get("url")
            if kind == "input_image" and url is None and part.get("file_id"):
                pictures.append(Picture(None, name=str(part["file_id"])))
                continue
            try:
                pictures.append(look_at(url))
            except BadPicture as error:
                raise ApiError(400, str(error), param=f"{name}[{index}].image_url", code=error.code) from error
        else:
            supported = ["text", "image_url", "input_text", "input_image"]
            raise invalid_value(f"{name}[{index}].type", kind, supported)
    return texts, pictures
