"""The provider's Files and Batches API through the official SDK; the only module that imports openai.

The SDK builds and sends requests; `replies` reads what comes back. Errors become ours, and the SDK resends nothing by
itself that could be billed twice.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import openai

from sqlbatch import trace
from sqlbatch.batches import replies, transfer
from sqlbatch.batches.providers import BLOCKING_CODES
from sqlbatch.errors import ProviderError, ProviderRefused, ProviderUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlbatch.batches.providers import Provider
    from sqlbatch.batches.replies import ProviderBatch, ProviderFile

_PASSING = frozenset({408, 409, 425, 429})
# The replies of providers that have no list of batches.
_NO_LIST = frozenset({404, 405, 501})
# Seconds in which a reachable provider answers a first, small request.
CHECK_TIMEOUT = 20.0
# Seconds in which a model answers one request; one that reasons takes minutes.
ASK_TIMEOUT = 600.0
_PAGE, _FILES_PAGE, _PAGES_AT_MOST = 100, 1_000, 1_000
# A shorter key could be part of a word, so it is removed from texts only where it stands alone.
_SHORT_KEY = 16


@dataclass(frozen=True)
class Reply:
    """The reply of an ordinary endpoint, unchanged. `final`: its error says that there is no money or no permission."""

    status: int
    text: str
    retry_after: float | None = None
    final: bool = False


class BatchAPI:
    """One provider's Files and Batches API.

    Every method raises only ProviderUnreachable, if the outcome is unknown, or ProviderRefused, if it is certain that
    nothing was done. `before` is called before each request: the database file must not be open while the network is
    waited for.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None,
        name: str,
        provider: Provider,
        *,
        loopback: bool = False,
        before: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self._before = before
        self._provider = provider
        self._key = key
        # Requests to this machine itself never use a proxy from the environment.
        hooks: Any = {"request": [trace.note_http_begin], "response": [trace.report_http]}
        self._http = openai.DefaultHttpxClient(
            verify=transfer.trusted_certificates(), trust_env=not loopback, event_hooks=hooks
        )
        self._client = openai.OpenAI(
            base_url=base_url, api_key=key or "none", http_client=self._http, default_headers=dict(provider.headers)
        )
        # A POST whose reply was lost must be looked up, not repeated; the SDK would resend it without an idempotency
        # key.
        self._once = self._client.with_options(max_retries=0)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def check(self) -> None:
        """Check that the provider is reachable and accepts the key; all other errors are temporary, and not raised."""
        try:
            with self._errors("list batches"):
                self._client.with_options(max_retries=1).batches.with_raw_response.list(limit=1, timeout=CHECK_TIMEOUT)
        except ProviderUnreachable as error:
            if error.status is None:
                raise
        except ProviderRefused as error:
            if error.status in {401, 403} or error.code in BLOCKING_CODES:
                raise

    def ask(self, endpoint: str, body: str, timeout: float | None = None) -> Reply:
        """Send one request to its ordinary endpoint, once, and return the reply, whatever its status.

        `timeout` is in seconds (ASK_TIMEOUT by default).
        """
        with self._errors("answer a request"):
            try:
                reply = self._once.post(
                    endpoint.removeprefix("/v1"),
                    cast_to=httpx2.Response,
                    content=body.encode(),
                    options={"headers": {"Content-Type": "application/json"}, "timeout": timeout or ASK_TIMEOUT},
                )
            except openai.APIStatusError as error:
                _, code = replies.error_words(error.response.content)
                text = self._scrubbed(error.response.text)
                wait = replies.retry_after(error.response.headers)
                return Reply(error.status_code, text, wait, code in BLOCKING_CODES)
            return Reply(reply.status_code, reply.text)

    def upload(self, path: Path, progress: Callable[[int], None]) -> str:
        """Upload a file as a stream and return its id; `progress` is called with the bytes read so far.

        If the reply has no id and the provider's list of files does not have it either, ProviderRefused is raised: a
        file without an id cannot be used.
        """
        fields = {"purpose": self._provider.purpose}
        fields |= {name: value.replace("{name}", path.name) for name, value in self._provider.upload_fields.items()}
        doing = f"upload {path.name}"
        with self._errors(doing), transfer.Counted(path, progress) as handle:
            reply = self._once.post(
                self._provider.upload_path,
                cast_to=httpx2.Response,
                body=fields,
                files=[("file", (path.name, handle))],
                options={"headers": {"Content-Type": "multipart/form-data"}, "timeout": 1800},
            )
        try:
            return replies.read_file(replies.parsed(reply.content)).file_id
        except replies.NotUnderstood as began:
            with contextlib.suppress(ProviderError):
                found = self.find_upload(path.name, path.stat().st_size)
                if found is not None:
                    return found
            words = self._scrubbed(f"{self.name} gave no file id in its reply to the upload: {began}")
            raise ProviderRefused(words, reply.status_code, "no_file_id") from None

    def find_upload(self, name: str, size: int) -> str | None:
        """Return the id of a complete upload of this name whose reply was lost, or None."""
        for entries in self._pages("list files", self._files_page, _FILES_PAGE, needs_end=False):
            for file in map(replies.read_file, entries):
                if file.name == name and file.bytes == size:
                    return file.file_id
        return None

    def create(self, input_file_id: str, endpoint: str, batch_id: str) -> ProviderBatch:
        """Create a batch, once, with our id in its metadata."""
        with self._errors("create a batch"):
            reply = self._once.batches.with_raw_response.create(
                input_file_id=input_file_id,
                endpoint=endpoint,  # type: ignore[arg-type]
                completion_window=self._provider.completion_window,  # type: ignore[arg-type]
                metadata={replies.OUR_ID: batch_id},
                extra_query=dict(self._provider.create_query) or None,
                extra_body=dict(self._provider.create_fields) or None,
            )
            return replies.read_batch(replies.parsed(reply.content))

    def retrieve(self, provider_id: str) -> ProviderBatch:
        """Return the current state of one batch."""
        with self._errors(f"retrieve {provider_id}"):
            reply = self._client.batches.with_raw_response.retrieve(provider_id)
            return replies.read_batch(replies.parsed(reply.content))

    def batches(self, *, whole: bool = False) -> Iterator[list[ProviderBatch]]:
        """Yield the provider's batches page by page, usually newest first, until a page brings nothing new.

        With `whole`, a list that cannot be read to its end, or has entries without an id, raises ProviderUnreachable,
        because it cannot prove that a batch is missing. Raises NoList if the provider has no list.
        """
        for entries in self._pages("list batches", self._batches_page, _PAGE, needs_end=whole):
            yield [replies.read_batch(each) for each in entries]

    def cancel(self, provider_id: str) -> None:
        """Ask the provider to stop a batch."""
        with self._errors(f"cancel {provider_id}"):
            self._once.batches.with_raw_response.cancel(provider_id)

    def file_created_at(self, file_id: str) -> int | None:
        """Return when a file was created, in the provider's seconds.

        None means that this key cannot see the file, 0 that the time is unknown. Some gateways have no metadata for a
        file whose content can be read; then its content shows that it exists.
        """
        try:
            return self._file(file_id).created_at or 0
        except ProviderRefused as error:
            if error.status in {401, 403}:
                raise
        except ProviderUnreachable as error:
            if error.status is None:
                raise
        try:
            with self._errors(f"download {file_id}"), self._client.files.with_streaming_response.content(file_id):
                return 0
        except ProviderRefused as error:
            if error.status in {404, 410}:
                return None
            raise

    def delete_file(self, file_id: str) -> None:
        """Delete a file; a file that is already gone is no error."""
        try:
            with self._errors(f"delete {file_id}"):
                self._client.files.with_raw_response.delete(file_id)
        except ProviderRefused as error:
            if error.status not in {404, 410}:
                raise

    def download(self, file_id: str, path: Path, progress: Callable[[int], None]) -> int:
        """Write a file's content to `path` as a stream and return its bytes.

        An id that is an address, as at SiliconFlow, is downloaded from there without the key. Raises CutShort if less
        came than the provider announced, and SqlbatchError if the disk does not take it.
        """
        short = file_id.partition("?")[0]
        with self._errors(f"download {short}"), self._content(file_id) as reply:
            announced = reply.headers.get("content-length", "")
            encoded = reply.headers.get("content-encoding", "identity") != "identity"
            expected = int(announced) if announced.isdecimal() and not encoded else None
            broken = False
            try:
                size = transfer.save(reply.iter_bytes(), path, progress)
            except httpx2.RemoteProtocolError:
                # The connection was closed in the middle of the body.
                size, broken = path.stat().st_size, True
        if expected is None and not broken and not transfer.is_address(file_id):
            # Without a length, an interrupted download looks complete, so the provider is asked for the file's size.
            with contextlib.suppress(ProviderError):
                expected = self._file(file_id).bytes
        if broken or (size < expected if expected is not None else not transfer.ends_whole(path)):
            whole = f" of {expected:,}" if expected is not None else ""
            raise transfer.CutShort(f"{self.name}: the download of {short} was cut at {size:,}{whole} bytes")
        return size

    @contextlib.contextmanager
    def _content(self, file_id: str) -> Iterator[Any]:
        if not transfer.is_address(file_id):
            with self._client.files.with_streaming_response.content(file_id) as reply:
                yield reply
            return
        with self._http.stream("GET", file_id, timeout=600.0, follow_redirects=True) as response:
            if response.is_error:
                response.read()
                raise openai.APIStatusError(f"error {response.status_code}", response=response, body=None)
            yield response

    def _file(self, file_id: str) -> ProviderFile:
        with self._errors(f"retrieve {file_id}"):
            return replies.read_file(replies.parsed(self._client.files.with_raw_response.retrieve(file_id).content))

    def _files_page(self, after: str | None, cursor: str | None) -> bytes:
        return self._client.files.with_raw_response.list(
            purpose=self._provider.purpose,
            limit=_FILES_PAGE,
            after=after or openai.omit,
            extra_query={"cursor": cursor} if cursor else None,
        ).content

    def _batches_page(self, after: str | None, cursor: str | None) -> bytes:
        return self._client.batches.with_raw_response.list(
            limit=_PAGE, after=after or openai.omit, extra_query={"cursor": cursor} if cursor else None
        ).content

    def _pages(
        self, doing: str, ask: Callable[[str | None, str | None], bytes], size: int, *, needs_end: bool
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield a list page by page, by `after` or by a cursor, as long as a page has something new."""
        seen: set[str] = set()
        after: str | None = None
        cursor: str | None = None
        unread = 0
        for _ in range(_PAGES_AT_MOST):
            try:
                with self._errors(doing):
                    page = replies.read_page(replies.parsed(ask(after, cursor)))
            except ProviderRefused as error:
                if error.status in _NO_LIST:
                    raise replies.NoList(str(error), error.status, error.code) from None
                raise
            unread += page.unread
            fresh = [each for each in page.entries if each["id"] not in seen]
            if fresh:
                yield fresh
            seen.update(each["id"] for each in fresh)
            # A list that ignores `after` repeats itself. It is complete unless it has exactly as many entries as we
            # asked for.
            repeated = not fresh and page.more is None and len(page.entries) != size
            if page.more is False or not page.entries or repeated:
                if needs_end and unread:
                    break
                return
            if not fresh:
                break
            after, cursor = page.entries[-1]["id"], page.cursor
        if needs_end:
            why = f"{unread:,} of its entries have no id" if unread else "it cannot be read to the end"
            raise ProviderUnreachable(f"{self.name}: its list of batches is no evidence: {why}")

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Turn the SDK's errors and odd replies into our errors; mistakes of our own are not caught."""
        if self._before is not None:
            self._before()
        began = trace.now()
        try:
            yield
        except replies.NotUnderstood as start:
            # A proxy's page instead of the answer: the request may have been carried out.
            words = self._scrubbed(f"{self.name} gave an unexpected answer to {doing}: {start}")
            raise ProviderUnreachable(words, 200) from None
        except openai.APIStatusError as error:
            raise self._refusal(error, doing) from None
        except (openai.APITimeoutError, httpx2.TimeoutException):
            trace.report("http", f"no answer in time to: {doing}", began)
            raise ProviderUnreachable(f"{self.name}: no answer in time to: {doing}") from None
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError) as error:
            if isinstance(error, OSError) and error.filename:
                raise ProviderError(f"{error.filename}: {error.strerror}") from None
            reason = self._scrubbed(str(error.__cause__ or error) or type(error).__name__)
            trace.report("http", f"no answer to: {doing}: {reason}", began)
            raise ProviderUnreachable(f"{self.name} cannot be reached to {doing}: {reason}") from None

    def _refusal(self, error: openai.APIStatusError, doing: str) -> ProviderError:
        words, code = replies.error_words(transfer.body_of(error.response))
        message = self._scrubbed(words)
        told = f"{self.name} said {error.status_code} to {doing}: {message}"
        if code not in BLOCKING_CODES and (error.status_code in _PASSING or error.status_code >= 500):
            return ProviderUnreachable(told, error.status_code, retry_after=replies.retry_after(error.response.headers))
        if error.status_code == 401:
            told = f"{self.name} refused the API key (401): {message}"
        return ProviderRefused(told, error.status_code, code)

    def _scrubbed(self, text: str) -> str:
        """Return a text without our key, whole or as the provider masks it, and without line breaks."""
        if self._key:
            key = re.escape(self._key)
            text = re.sub(rf"(?<![\w-]){key}(?![\w-])" if len(self._key) < _SHORT_KEY else key, "(the key)", text)
        return re.sub(r"\bsk-[\w*.-]+", "(the key)", " ".join(text.split()))
