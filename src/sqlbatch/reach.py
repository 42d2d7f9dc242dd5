"""The way to a provider: its key, its address, and the embedded server where it is the local one."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from sqlbatch.answering.providers import Provider, is_here, known, label
from sqlbatch.errors import InvalidSettings
from sqlbatch.places import home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.answering.batch_api import BatchAPI
    from sqlbatch.store.database import Database


@contextlib.contextmanager
def connected(database: Database, provider: Provider) -> Iterator[BatchAPI]:
    """Reach a provider for the block; the local one is started in this process, or joined where it runs already.

    Raises InvalidSettings where a key is needed and there is none.
    """
    from sqlbatch.answering.batch_api import BatchAPI  # noqa: PLC0415 (openai takes a second to import)

    with contextlib.ExitStack() as stack:
        if provider.name == "local":
            from sqlbatch.server import EmbeddedServer  # noqa: PLC0415

            server = stack.enter_context(EmbeddedServer(home(database) / "server"))
            api = BatchAPI(server.base_url, None, "the local server", loopback=True)
        else:
            name, here = label(provider.name, provider.base_url), is_here(provider.base_url)
            api = BatchAPI(provider.base_url, key_of(provider), name, loopback=here, purpose=provider.purpose)
        stack.callback(api.close)
        yield api


def key_of(provider: Provider) -> str | None:
    """Return the provider's key from the environment; raise InvalidSettings where it needs one and there is none."""
    key = os.environ.get(provider.key_variable, "").strip() if provider.key_variable else ""
    if not key and provider.key_variable and known()[provider.name].base_url in {provider.base_url, ""}:
        raise InvalidSettings(
            f"no API key for {provider.name}: set {provider.key_variable}, or try the whole path without a key or cost "
            "with --provider local (its offline model is no language model)"
        )
    if not key.isascii() or not key.isprintable():
        raise InvalidSettings(f"{provider.key_variable} has characters that no key has (a line break?): set it again")
    return key or None


def check_provider(database: Database, provider: Provider) -> None:
    """Raise ProviderError or InvalidSettings where the provider cannot be reached or refuses the key."""
    with connected(database, provider) as api:
        api.check()
