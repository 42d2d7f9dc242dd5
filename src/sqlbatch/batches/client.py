"""The Files and Batches API through the official SDK: the only importer of openai.

Replies become frozen records in one spelling, errors become ours, and nothing is sent twice behind our back.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import openai

from sqlbatch import trace
from sqlbatch.batches import streams
from sqlbatch.batches.dialects import ProviderBatch, field, normalised
from sqlbatch.batches.providers import BLOCKING_CODES
from sqlbatch.errors import ProviderError, ProviderRefused, ProviderUnreachable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PASSING = frozenset({408, 409, 425, 429})
_CHUNK = 1 << 20
# Seconds in which a provider that is there answers a first, small question.
CHECK_TIMEOUT = 20.0
# Seconds in which a model answers one request; one that reasons takes minutes.
ASK_TIMEOUT = 600.0
_PAGE, _PAGES_AT_MOST = 100, 1_000
# Seconds: what a provider asks us to wait for is believed up to a day.
_LONGEST_WAIT = 86_400.0


@dataclass(frozen=True)
class Reply:
    """A reply of an ordinary endpoint as it came; `final` where its error says: no money, or no right."""

    status: int
    text: str
    retry_after: float | None = None
    final: bool = False


class BatchAPI:
    """One provider's Files and Batches; what goes wrong is ProviderUnreachable or ProviderRefused, no other error."""

    def __init__(
        self, base_url: str, key: str | None, name: str, *, loopback: bool = False, purpose: str = "batch"
    ) -> None:
        self.name = name
        self._purpose: Any = purpose
        self._key = key
        # What is on this machine is not behind a proxy of the environment's.
        hooks: Any = {"request": [_begun], "response": [_answered]}
        client = openai.DefaultHttpxClient(verify=_trusted(), trust_env=not loopback, event_hooks=hooks)
        self._client = openai.OpenAI(base_url=base_url, api_key=key or "none", http_client=client)
        # A POST whose reply was lost must be looked up, not repeated: the SDK resends it without an idempotency key.
        self._once = self._client.with_options(max_retries=0)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def check(self) -> None:
        """Ask for one batch, to learn whether the provider is there and takes the key."""
        with self._errors("list batches"):
            self._client.with_options(max_retries=1).batches.list(limit=1, timeout=CHECK_TIMEOUT)

    def ask(self, endpoint: str, body: str) -> Reply:
        """Post one request to its ordinary endpoint, once, and return the reply, whatever its status."""
        with self._errors("answer a request"):
            try:
                reply = self._once.post(
                    endpoint.removeprefix("/v1"),
                    cast_to=httpx2.Response,
                    content=body.encode(),
                    options={"headers": {"Content-Type": "application/json"}, "timeout": ASK_TIMEOUT},
                )
            except openai.APIStatusError as error:
                text = self._scrubbed(error.response.text)
                return Reply(error.status_code, text, _retry_after(error), error.code in BLOCKING_CODES)
            return Reply(reply.status_code, reply.text)

    def upload(self, path: Path, progress: Callable[[int], None]) -> str:
        """Upload a file as a stream and return its id; `progress` is told the bytes read so far."""
        with self._errors(f"upload {path.name}"), streams.Counted(path, progress) as handle:
            reply = self._once.files.create(file=(path.name, handle), purpose=self._purpose, timeout=1800)
            return reply.id

    def find_upload(self, name: str, size: int) -> str | None:
        """Return the id of a whole upload of this name whose reply was lost, or None."""
        with self._errors("list files"):
            page = self._client.files.list(purpose=self._purpose, limit=1000)
            for file in page.data or []:
                if file.filename == name and file.bytes == size:
                    return file.id
        return None

    def create(self, input_file_id: str, endpoint: str, batch_id: str) -> ProviderBatch:
        """Create a batch, once, with our id in its metadata."""
        with self._errors("create a batch"):
            reply = self._once.batches.create(
                input_file_id=input_file_id,
                endpoint=endpoint,  # type: ignore[arg-type]
                completion_window="24h",
                metadata={"sqlbatch_batch_id": batch_id},
            )
            return normalised(reply)

    def retrieve(self, provider_id: str) -> ProviderBatch:
        """Return one batch as it is now."""
        with self._errors(f"retrieve {provider_id}"):
            return normalised(self._client.batches.retrieve(provider_id))

    def batches(self, *, whole: bool = False) -> Iterator[ProviderBatch]:
        """Return the provider's batches, newest first; stops where a page brings nothing new.

        With `whole`, a list that cannot be read to its end is no evidence of what it lacks: raises ProviderUnreachable.
        """
        seen: set[str] = set()
        after: str | None = None
        cursor: str | None = None
        for _ in range(_PAGES_AT_MOST):
            with self._errors("list batches"):
                by_cursor = {"cursor": cursor} if cursor else None
                page = self._client.batches.list(limit=_PAGE, after=after or openai.omit, extra_query=by_cursor)
                batches = [normalised(each) for each in field(page, "data") or field(page, "value") or []]
                # Most say whether there is more; Groq says by which cursor instead.
                cursor = field(field(page, "paging"), "next_cursor")
                more = True if cursor else field(page, "has_more")
            fresh = [each for each in batches if each.provider_id not in seen]
            yield from fresh
            seen.update(each.provider_id for each in fresh)
            if more is False or not batches or (not fresh and more is None and len(batches) < _PAGE):
                return
            if not fresh:
                break
            after = batches[-1].provider_id
        if whole:
            raise ProviderUnreachable(f"{self.name}: its list of batches cannot be read to the end")

    def cancel(self, provider_id: str) -> ProviderBatch:
        """Ask the provider to stop a batch."""
        with self._errors(f"cancel {provider_id}"):
            return normalised(self._once.batches.cancel(provider_id))

    def file_created_at(self, file_id: str) -> int | None:
        """Return when a file was made, in the provider's seconds; None where it is not to be had with this key."""
        try:
            with self._errors(f"retrieve {file_id}"):
                # A file without a date is there all the same: the list is then read to its end.
                return field(self._client.files.retrieve(file_id), "created_at") or 0
        except ProviderRefused as error:
            if error.status == 404:
                return None
            raise

    def delete_file(self, file_id: str) -> None:
        """Delete a file; a file that is gone already is no error."""
        try:
            with self._errors(f"delete {file_id}"):
                self._client.files.delete(file_id)
        except ProviderRefused as error:
            if error.status not in {404, 410}:
                raise

    def download(self, file_id: str, path: Path, progress: Callable[[int], None]) -> int:
        """Write a file's content to `path` as a stream and return its bytes; what was cut is ProviderUnreachable.

        Raises SqlbatchError where the disk does not take it.
        """
        with self._errors(f"download {file_id}"), self._client.files.with_streaming_response.content(file_id) as reply:
            announced = reply.headers.get("content-length")
            encoded = reply.headers.get("content-encoding", "identity") != "identity"
            size = streams.save(reply.iter_bytes(_CHUNK), path, progress)
            expected = int(announced) if announced is not None and not encoded else None
        if expected is None:
            # Without a length a cut looks like an end, so the provider is asked how long the file is.
            expected = self._size_of(file_id)
        if size < expected if expected is not None else not streams.ends_whole(path):
            whole = f" of {expected:,}" if expected is not None else ""
            raise ProviderUnreachable(f"{self.name}: {file_id} was cut at {size:,}{whole} bytes")
        return size

    def _size_of(self, file_id: str) -> int | None:
        """Return a file's bytes as the provider knows them, None where it does not."""
        try:
            with self._errors(f"retrieve {file_id}"):
                return int(self._client.files.retrieve(file_id).bytes or 0) or None
        except ProviderRefused:
            return None

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        began = trace.now()
        try:
            yield
        except openai.APIStatusError as error:
            raise self._refusal(error, doing) from None
        except (openai.APITimeoutError, httpx2.TimeoutException):
            trace.told("http", f"no answer in time to: {doing}", began)
            raise ProviderUnreachable(f"{self.name}: no answer in time to: {doing}") from None
        except (AttributeError, KeyError, TypeError, ValueError):
            # A proxy's page in the place of an answer: whatever was asked for may have been done.
            raise ProviderUnreachable(f"{self.name} answered something else than was asked for to {doing}") from None
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            if isinstance(error, OSError) and error.filename:
                raise ProviderError(f"{error.filename}: {error.strerror}") from None
            reason = self._scrubbed(str(error.__cause__ or error) or type(error).__name__)
            trace.told("http", f"no answer to: {doing}: {reason}", began)
            raise ProviderUnreachable(f"{self.name} cannot be reached to {doing}: {reason}") from None

    def _refusal(self, error: openai.APIStatusError, doing: str) -> ProviderError:
        code = error.code if isinstance(error.code, str) else None
        message = self._scrubbed(_message_of(error))
        told = f"{self.name} said {error.status_code} to {doing}: {message}"
        if code not in BLOCKING_CODES and (error.status_code in _PASSING or error.status_code >= 500):
            return ProviderUnreachable(told, error.status_code, _retry_after(error))
        if error.status_code == 401:
            told = f"{self.name} refused the API key (401): {message}"
        return ProviderRefused(told, error.status_code, code)

    def _scrubbed(self, text: str) -> str:
        """Return a text without our key, whole or as the provider masks it, and without line breaks."""
        if self._key:
            text = text.replace(self._key, "(the key)")
        return re.sub(r"\bsk-[\w*.-]+", "(the key)", " ".join(text.split()))


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Return whom this computer trusts, which takes longer to read than many a step takes."""
    return httpx2.create_ssl_context()


def _begun(request: httpx2.Request) -> None:
    request.extensions["sqlbatch_began"] = trace.now()


def _answered(response: httpx2.Response) -> None:
    """Tell a call by its method, address and status; neither headers nor bodies, for they hold keys and rows."""
    request = response.request
    trace.told("http", f"{request.method} {request.url} {response.status_code}", request.extensions["sqlbatch_began"])


def _message_of(error: openai.APIStatusError) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        message = inner.get("message") if isinstance(inner, dict) else inner
        if isinstance(message, str):
            return message
    return error.message


def _retry_after(error: openai.APIStatusError) -> float | None:
    try:
        seconds = float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(seconds, _LONGEST_WAIT) if math.isfinite(seconds) and seconds > 0 else None
