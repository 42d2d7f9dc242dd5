"""Connect to a provider: its key, its address, and the embedded server for the local provider."""

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

# Addresses that the user of this process gave.
_given: set[str] = set()


def trust(provider: Provider) -> None:
    """Note that the user of this process gave the provider's address, so its key may be sent there."""
    _given.add(provider.base_url)


@contextlib.contextmanager
def connect(database: Database, provider: Provider) -> Iterator[BatchAPI]:
    """Connect to a provider for the block; the local server is started in this process, or joined if it already runs.

    Raises InvalidSettings if a key is needed and missing, or if only the database names the address.
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
    """Return the provider's key from the environment; raise InvalidSettings if it needs one and none is set."""
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


def address_variable(provider: Provider) -> str:
    """Return the environment variable that another process's command needs to reach the provider, or an empty text.

    It is needed if a key would go to an address that only this command line named.
    """
    named = is_here(provider.base_url) or _is_configured(provider) or key_of(provider) is None
    return "" if named else f"SQLBATCH_BASE_URL={shlex.quote(provider.base_url)} "


def _is_named_here(provider: Provider) -> bool:
    """Whether an address is named outside the database. A database may come from anybody, so it cannot direct a key."""
    return provider.base_url in _given or _is_configured(provider)


def _is_configured(provider: Provider) -> bool:
    """Whether an address is the provider's own, or is named in the environment or a file."""
    held = config.lookup("base_url")
    with contextlib.suppress(InvalidSettings):
        # Some providers have no address unless a variable names one.
        if find_provider(provider.name).base_url == provider.base_url:
            return True
    return held is not None and find_provider(provider.name, held.value).base_url == provider.base_url


def check_provider(database: Database, provider: Provider) -> None:
    """Raise ProviderError or InvalidSettings if the provider cannot be reached or refuses the key."""
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
