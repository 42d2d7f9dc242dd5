"""The quote, as a person reads it before money is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlbatch.batches.providers import label
from sqlbatch.display.console import counted, err, plain, show_facts, sized
from sqlbatch.display.money import cost, tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.query.quote import Quote


def show_quote(quote: Quote) -> None:
    """Tell what would be sent, what not, and why."""
    show_facts(err, quote_facts(quote))
    show_notes(quote.notes)


def show_notes(notes: Sequence[str]) -> None:
    """Tell what else is to be known before money is spent."""
    for note in notes:
        err.print(f"[yellow]note:[/] {plain(note)}")


def quote_facts(quote: Quote) -> dict[str, str]:
    """Return the facts of a quote by their names, for a terminal or a notebook."""
    offline = " (no language model: it answers from the text alone)" if quote.provider == "local" else ""
    facts = {"target": quote.target, "model": f"{quote.model} at {label(quote.provider, quote.base_url)}{offline}"}
    facts["rows"] = f"{quote.rows:,}" + "".join(f"; {count:,} skipped: {reason}" for reason, count in quote.skipped_why)
    # A reason names a file, and a thousand missing files have a thousand reasons.
    if quote.unsent:
        facts["rows"] += f"; {quote.unsent:,} cannot be sent: {quote.unsent_why[0][0]}"
        facts["rows"] += f" (and {len(quote.unsent_why) - 1:,} more reasons)" if len(quote.unsent_why) > 1 else ""
    facts["the model sees"] = ", ".join(quote.sees)
    if quote.rides_along:
        facts["rides along"] = ", ".join(quote.rides_along)
    settled = [f"{quote.distinct:,} distinct"]
    settled += [f"{quote.answered:,} answered before"] if quote.answered else []
    settled += [f"{quote.failed_before:,} failed before, not sent (retry sends them)"] if quote.failed_before else []
    settled += [f"{quote.in_flight:,} in flight"] if quote.in_flight else []
    facts["requests"] = ", ".join(settled)
    if quote.to_send:
        batches = counted(quote.batches, "batch", "batches")
        facts["to send"] = f"{counted(quote.to_send, 'request')} in {batches}, {sized(quote.bytes)}"
        if quote.pictures:
            taken = quote.picture_bytes
            size = f"{taken / 1e6:,.1f} MB" if taken >= 1e6 else f"{taken / 1e3:,.0f} kB"
            facts["pictures"] = (
                f"{quote.pictures:,}, which take {size} of it" if taken else f"{quote.pictures:,}, by URL"
            )
        facts["tokens"] = tokens(quote.cost)
    else:
        facts["to send"] = "nothing"
    facts["cost"] = cost(quote.cost)
    return facts
