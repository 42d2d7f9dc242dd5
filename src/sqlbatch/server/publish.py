"""The end of a batch: its output files become readable in the same transaction that ends it."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from sqlbatch.server.envelope import new_id
from sqlbatch.server.state import UNFINISHED
from sqlbatch.server.threads import beside

if TYPE_CHECKING:
    from sqlbatch.server.execute import Execution
    from sqlbatch.server.testing.lines import FaultyBatch
    from sqlbatch.server.tools import Tools

_LIFETIME = 2_592_000  # seconds that output files are kept unless asked otherwise; 30 days (contract section 2)


class Superseded(Exception):
    """The batch has meanwhile gone another way; its owner cancelled it."""


async def publish(tools: Tools, execution: Execution, block: str, faulty: FaultyBatch | None) -> None:
    """Make the output files of a batch readable and end it by the statement `block`.

    Nothing happens where the statement finds the batch in a status that it does not lead out of.
    """
    await execution.checkpoint()
    record, progress = execution.record, execution.results.progress
    drafts = {
        "output_file_id": (record.output_draft, progress.output_bytes, "output"),
        "error_file_id": (record.error_draft, progress.error_bytes, "error"),
    }
    if faulty and faulty.damages_files:
        drafts = await beside(functools.partial(_damaged, tools, faulty, drafts))
    await beside(tools.folder.sync)
    now = tools.clock.seconds()
    published = {column: draft if size else None for column, (draft, size, _) in drafts.items()}
    with contextlib.suppress(Superseded), tools.state.transaction():
        for draft, size, name in drafts.values():
            if draft and size:
                tools.state.run(
                    "add_file",
                    id=draft,
                    filename=f"{record.id}_{name}.jsonl",
                    purpose="batch_output",
                    bytes=size,
                    created_at=now,
                    expires_at=now + (record.output_expires_seconds or _LIFETIME),
                )
        if not tools.state.run(block, id=record.id, now=now, **published):
            raise Superseded
    ended = tools.state.batch(record.id)
    if ended is None or ended.status in UNFINISHED:
        return
    tools.folder.forget_input(record.id)
    for draft in (record.output_draft, record.error_draft):
        if draft and draft not in published.values():
            tools.folder.content(draft).unlink(missing_ok=True)


def _damaged(
    tools: Tools, faulty: FaultyBatch, drafts: dict[str, tuple[str | None, int, str]]
) -> dict[str, tuple[str | None, int, str]]:
    """Write the output files again under other ids, as faults have them come out."""
    damaged: dict[str, tuple[str | None, int, str]] = {}
    for column, (draft, size, name) in drafts.items():
        if not draft or not size:
            damaged[column] = (draft, size, name)
            continue
        other = new_id("file-")
        damaged[column] = (other, faulty.damage(tools.folder.content(draft), tools.folder.content(other)), name)
    return damaged
