"""Stop at the provider what only cancelled jobs wanted; what was answered by then is kept."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches.events import Event, Notice
from sqlbatch.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlbatch.batches.client import BatchAPI
    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.database import Database


def stop_unwanted(database: Database, api: BatchAPI, provider: Provider) -> Iterator[Event]:
    """Ask the provider to stop the batches that only cancelled jobs wanted; give up those that were never sent."""
    asked = {"base_url": provider.base_url, "now": clock.now()}
    for batch_id, state, provider_id in database.read(lambda session: session.run("cancel.unwanted", asked)):
        if state != "open":
            fact = {"batch_id": batch_id, "now": clock.now()}
            database.write(lambda session, fact=fact: session.run("cancel.never_sent", fact))  # type: ignore[misc]
            continue
        # A batch that has just ended refuses (409); the next look sees it.
        with contextlib.suppress(ProviderError):
            api.cancel(provider_id)
            yield Notice(f"batch {provider_id}: asked to stop; what it has answered by then is kept")
