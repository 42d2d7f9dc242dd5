"""The way to a provider: its key, its address, and the embedded server where it is the local one."""

from __future__ import annotations

import contextlib
import os
import shlex
from typing import TYPE_CHECKING

from sqlbatch import config
from sqlbatch.batches.providers import Provider, find_provider, is_here, known, label
from sqlbatch.errors import InvalidSettings
from sqlbatch.paths import state_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.batches.client import BatchAPI
    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import JobRow

# Addresses that were given to this process by whoever runs it.
_given: set[str] = set()


def trust(provider: Provider) -> None:
    """Note that who runs this process gave the provider's address, so that its key may go there."""
    _given.add(provider.base_url)


@contextlib.contextmanager
def connect(database: Database, provider: Provider) -> Iterator[BatchAPI]:
    """Reach a provider for the block; the local one is started in this process, or joined where it runs already.

    Raises InvalidSettings where a key is needed and there is none, or where only the database says where to send it.
    """
    from sqlbatch.batches.client import BatchAPI  # noqa: PLC0415 (openai takes a second to import)

    with contextlib.ExitStack() as stack:
        if provider.embedded:
            from sqlbatch.server import EmbeddedServer  # noqa: PLC0415

            server = stack.enter_context(EmbeddedServer(state_dir(database) / "server"))
            api = BatchAPI(server.base_url, None, "the local server", provider, loopback=True, before=database.let_go)
        else:
            name, here = label(provider.name, provider.base_url), is_here(provider.base_url)
            key = key_of(provider)
            if key is not None and not here and not _is_named_here(provider):
                raise InvalidSettings(
                    f"{database.name} says that its job is at {provider.base_url}, which nothing else here names: if "
                    f"{provider.key_variable} may go there, set SQLBATCH_BASE_URL={provider.base_url}"
                )
            api = BatchAPI(provider.base_url, key, name, provider, loopback=here, before=database.let_go)
        stack.callback(api.close)
        yield api


def key_of(provider: Provider) -> str | None:
    """Return the provider's key from the environment; raise InvalidSettings where it needs one and there is none."""
    key = os.environ.get(provider.key_variable, "").strip() if provider.key_variable else ""
    if not key and provider.key_variable and known()[provider.name].base_url in {provider.base_url, ""}:
        raise InvalidSettings(
            f"no API key for {provider.name}: set {provider.key_variable}, or try everything without a key or cost "
            "with --provider local (its offline model is a placeholder)"
        )
    if not key.isascii() or not key.isprintable():
        raise InvalidSettings(
            f"{provider.key_variable} contains characters that no key has (a line break?): set it again"
        )
    return key or None


def coming_back(provider: Provider) -> str:
    """Return what stands before a command of another process that shall reach a provider too: its address, or nothing.

    It is needed where a key would go to an address that only the command line has named.
    """
    named = is_here(provider.base_url) or _is_configured(provider) or key_of(provider) is None
    return "" if named else f"SQLBATCH_BASE_URL={shlex.quote(provider.base_url)} "


def _is_named_here(provider: Provider) -> bool:
    """Whether an address stands elsewhere than in the database, which may be anybody's: no key follows it."""
    return provider.base_url in _given or _is_configured(provider)


def _is_configured(provider: Provider) -> bool:
    """Whether an address is the provider's own, or stands in the environment or a file."""
    held = config.lookup("base_url")
    with contextlib.suppress(InvalidSettings):
        # Some have no address but what a variable says.
        if find_provider(provider.name).base_url == provider.base_url:
            return True
    return held is not None and find_provider(provider.name, held.value).base_url == provider.base_url


def check_provider(database: Database, provider: Provider) -> None:
    """Raise ProviderError or InvalidSettings where the provider cannot be reached or refuses the key."""
    with connect(database, provider) as api:
        api.check()


def provider_of(job: JobRow) -> Provider:
    """Return the provider that a job was started with."""
    if job.provider not in known():
        raise InvalidSettings(
            f"job {job.job_id} was started with the provider {job.provider}, which no sqlbatch.toml here defines: run "
            f"it from its project's folder, or add [providers.{job.provider}] to ~/.config/sqlbatch.toml"
        )
    return find_provider(job.provider, job.base_url)
