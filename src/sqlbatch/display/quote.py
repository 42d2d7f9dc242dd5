"""Print quotes and previews, with tokens and dollars."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from sqlbatch.batches.providers import label
from sqlbatch.db.prices import HOW_TO_PRICE, in_dollars
from sqlbatch.display.console import counted, err, info, nonzero, out, plain, show_facts, sized
from sqlbatch.layout import harmless, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from sqlbatch.db.jobs import Billed, JobRow
    from sqlbatch.finish_now import Remainder
    from sqlbatch.previews import PreparedPreview, Preview, PreviewRow
    from sqlbatch.query.cost import Cost
    from sqlbatch.query.quote import Quote, Stage


NO_PRICE = f"no price is known: {HOW_TO_PRICE}"
_SOURCES = {"call": "of this prompt", "model": "of this model"}


# Notes after a call: it combines answers about a group, or is asked for further rows.
_SAID = ("combined", "while fewer than")
# The most characters of a call in the quote of a stage.
_CALL = 40
# The note about the offline model, shown once a run.
OFFLINE = " (a placeholder, no language model)"


def spent(billed: Billed) -> str:
    """Return the dollars that were spent."""
    if billed.dollars is None:
        return NO_PRICE
    return in_dollars(billed.dollars) if billed.dollars else "nothing"


def billed_tokens(billed: Billed | Preview, unit: str = "") -> str:
    """Return the tokens that were billed: `1,200 in (200 cached), 90 out`."""
    written = f", {billed.tokens_cache_write:,} written to the cache" if billed.tokens_cache_write else ""
    return f"{billed.tokens_in:,}{unit} in ({billed.tokens_cached:,} cached{written}), {billed.tokens_out:,} out"


def quoted_and_spent(billed: Billed) -> str:
    """Return the dollars quoted, spent and reserved: `quoted $0.08, spent $0.03, reserved $0.02`."""
    parts = [f"quoted {in_dollars(billed.quoted)}"] if billed.quoted and (billed.dollars or billed.reserved) else []
    parts.append(f"spent {in_dollars(billed.dollars)}" if parts and billed.dollars else spent(billed))
    parts += [f"up to {in_dollars(billed.reserved)} reserved by batches under way"] if billed.reserved else []
    return ", ".join(parts)


def quoted(job: JobRow, billed: Billed) -> str | None:
    """Return how far the quote was off, in tokens of input a request; None if it quoted none."""
    sent = job.requests - job.reused
    if sent <= 0 or not job.tokens or not billed.tokens_in:
        return None
    off = job.tokens / sent / (billed.tokens_in / billed.results) - 1
    if abs(off) < 0.0005:
        return f"{job.tokens:,} tokens in, as they were billed"
    return f"{job.tokens:,} tokens in, {abs(off):.1%} {'more' if off > 0 else 'less'} a request than billed"


def tokens(cost: Cost) -> str:
    """Return the tokens that are likely to be billed, and what the estimate is based on."""
    estimate = cost.estimate
    if estimate.source == "bytes":
        source = "estimated from bytes"
    else:
        source = f"calibrated by {counted(estimate.known, 'earlier result')} {_SOURCES[estimate.source]}"
    if cost.cap == 0:
        return f"about {cost.tokens:,} in ({source})"
    guessed = ["a guess"] if estimate.output is None else []
    most = [] if cost.tokens_out_largest is None else [f"at most {cost.tokens_out_largest:,}"]
    aside = f" ({', '.join(guessed + most)})" if guessed or most else ""
    return f"about {cost.tokens:,} in ({source}), {cost.tokens_out:,} out{aside}"


def cost(cost: Cost) -> str:
    """Return the expected cost in dollars, and the most it can be."""
    if cost.free:
        return "nothing"
    if cost.dollars is None:
        return f"unknown: no price is known for this model; {HOW_TO_PRICE}"
    if cost.dollars_ordinary is not None and cost.dollars_ordinary != cost.dollars:
        return f"{cost.in_words()}; {in_dollars(cost.dollars_ordinary)} without a batch"
    return cost.in_words()


def show_quote(quote: Quote, console: Console = err) -> None:
    """Print what would be sent, what would not, and why: on stderr, or as the data of `plan` on stdout."""
    show_facts(console, quote_facts(quote))
    show_notes(quote.notes)


def show_notes(notes: Sequence[str]) -> None:
    """Print notes that matter before money is spent."""
    for note in notes:
        err.print(f"[yellow]note:[/] {plain(note)}")


def model_at(model: str, provider: str, base_url: str) -> str:
    """Return a model and where it is asked."""
    return f"{model} at {label(provider, base_url)}{OFFLINE if provider == 'local' else ''}"


def _rows(rows: int, skipped: Sequence[tuple[str, int]]) -> str:
    return f"{rows:,}" + "".join(f"; {count:,} skipped: {reason}" for reason, count in skipped)


def _settled(quote: Quote) -> list[str]:
    """Return how many requests need not be sent, and why."""
    return nonzero(
        (quote.answered, "answered before"),
        (quote.failed_before, "failed before, not sent (retry sends them)"),
        (quote.in_flight, "in flight"),
    )


def quote_facts(quote: Quote) -> dict[str, str]:
    """Return the facts of a quote by their names, for a terminal or a notebook."""
    facts = {"target": quote.target, "model": model_at(quote.model, quote.provider, quote.base_url)}
    if quote.stages:
        return facts | stage_facts(quote)
    facts["rows"] = _rows(quote.rows, quote.skipped_why)
    if quote.unsent:
        facts["rows"] += f"; {_unsent(quote)}"
    facts["sent to model"] = ", ".join(quote.sent_columns)
    if quote.also_kept:
        facts["also kept"] = ", ".join(quote.also_kept)
    facts["requests"] = ", ".join([f"{quote.distinct:,} distinct", *_settled(quote)])
    batches = counted(quote.batches, "batch", "batches")
    sent = f"{counted(quote.to_send, 'request')} in {batches}, {sized(quote.bytes)}" if quote.to_send else ""
    facts |= _to_send(sent, quote.cost, _pictures(quote))
    if quote.to_send and quote.expected_seconds is not None and quote.provider != "local":
        minutes = math.ceil(quote.expected_seconds / 60)
        time = f"{minutes:,} min" if minutes < 120 else f"{minutes / 60:,.0f} h"
        earlier = counted(quote.expected_from, "earlier batch", "earlier batches")
        facts["finish"] = f"in about {time}, as {earlier} took"
    return facts


def _to_send(sent: str, expected: Cost, pictures: dict[str, str] | None = None) -> dict[str, str]:
    """Return what would be sent (empty: nothing), its tokens and its cost."""
    if not sent:
        return {"to send": "nothing", "cost": cost(expected)}
    return {"to send": sent, **(pictures or {}), "tokens": tokens(expected), "cost": cost(expected)}


def _unsent(quote: Quote) -> str:
    # A reason names a file, so a thousand missing files have a thousand reasons.
    more = f" (and {len(quote.unsent_why) - 1:,} more reasons)" if len(quote.unsent_why) > 1 else ""
    return f"{quote.unsent:,} cannot be sent: {quote.unsent_why[0][0]}{more}"


def _pictures(quote: Quote) -> dict[str, str]:
    """Return how many pictures are sent, and their size; empty if there are none."""
    if not quote.pictures:
        return {}
    taken = quote.picture_bytes
    size = f"{taken / 1e6:,.1f} MB" if taken >= 1e6 else f"{taken / 1e3:,.0f} kB"
    return {"pictures": f"{quote.pictures:,}, which take {size} of it" if taken else f"{quote.pictures:,}, by URL"}


def stage_facts(quote: Quote) -> dict[str, str]:
    """Return the facts of a quote in stages, in columns: exact for the first stage, upper limits for later ones."""
    facts = {"rows": f"{quote.rows:,} in the sources, kept as they are now"}
    # A call that may send nothing (a later level of a small aggregate) adds no round.
    shown = [stage for stage in quote.stages if stage.requests or stage.number == 1]
    named = [_calls_of(stage) for stage in shown]
    counts = [f"{'≤ ' if stage.number > 1 else ''}{stage.requests:,}" for stage in shown]
    dollars = [_dollars_of(stage) for stage in shown]
    widths = [max(map(len, column)) for column in (named, counts, dollars)]
    for stage, *columns in zip(shown, named, counts, dollars, strict=True):
        line = f"{columns[0]:<{widths[0]}}  {columns[1]:>{widths[1]}}  {columns[2]:>{widths[2]}}"
        facts[f"stage {stage.number}"] = f"{line}   {_likely(stage)}".rstrip()
    laid = f" in {counted(quote.batches, 'batch', 'batches')}" if quote.batches else ""
    sent = f"{counted(quote.to_send, 'request')}{laid}, {sized(quote.bytes)}" if quote.to_send else "nothing"
    unsent = [_unsent(quote)] if quote.unsent else []
    facts["to send now"] = ", ".join([sent, *_settled(quote), *unsent])
    facts |= _pictures(quote)
    rounds = counted(len(shown), "round")
    facts["rounds"] = f"{rounds} of batches" + ("" if quote.provider == "local" else ", each up to 24 h")
    if 0 < quote.fused < len(shown):
        facts["rounds"] += f"; with --fuse {counted(quote.fused, 'round')}, which asks all of it"
    facts["cost"] = cost(quote.cost)
    return facts


def _calls_of(stage: Stage) -> str:
    """Return the calls of a stage: a single one by its beginning, several by their functions' names."""
    calls = list(dict.fromkeys(stage.calls))
    if len(calls) > 1:
        return ", ".join(dict.fromkeys(call.partition("(")[0] for call in calls))
    call = calls[0] if calls else ""
    told = call.rpartition("), ")[2]
    if told.startswith(_SAID):
        return f"{call.partition('(')[0]}, {told}"
    return call if len(call) <= _CALL else call[: _CALL - 2] + "…)"


def _dollars_of(stage: Stage) -> str:
    if stage.cost.free:
        return ""
    if stage.cost.dollars is None:
        return "unknown"
    return f"{'≤ ' if stage.number > 1 else ''}{in_dollars(stage.cost.dollars)}"


def _likely(stage: Stage) -> str:
    """Return how many requests a stage is likely to have, and the evidence."""
    if stage.about is None:
        return ""
    low, high = stage.share
    dollars = stage.cost.dollars if not stage.cost.free else None
    costs = f", {in_dollars(dollars * stage.about / stage.requests)}" if dollars and stage.requests else ""
    return (
        f"about {stage.about:,}{costs} ({stage.passed:,} of {stage.judged:,} answered before pass, "
        f"{low:.0%} to {high:.0%})"
    )


# The most characters of a value on a terminal; --json has all of them.
_SENT, _KEPT = 400, 60


def show_preview_quote(ready: PreparedPreview) -> None:
    """Print on stderr what a preview would send, and where."""
    known, provider, compiled = ready.known, ready.provider, ready.compiled
    settled = nonzero(
        (known.answered, "answered before"),
        (known.failed_before, "failed before, not sent (--fresh sends them)"),
        (known.in_flight, "in a batch already"),
    )
    facts = {
        "model": model_at(ready.enrichment.model, provider.name, provider.base_url),
        "rows": _rows(compiled.rows, compiled.skipped_why),
        "sent to model": ", ".join(compiled.prompt_sql.columns),
        "requests": ", ".join([f"{compiled.distinct:,} distinct", *settled]),
    }
    price = " at the flex price" if ready.flex else " at the ordinary price, not the batch's"
    sent = (
        f"{counted(known.to_send, 'request')} now{'' if provider.name == 'local' else price}" if known.to_send else ""
    )
    show_facts(err, facts | _to_send(sent, ready.cost))
    show_notes(ready.notes)


def show_remainder(quoted: Remainder) -> None:
    """Print on stderr which requests of a job would be sent now, where, and at which price."""
    job, provider = quoted.job, quoted.provider
    models = ", ".join(dict.fromkeys(call.model for call in quoted.calls))
    price = " at the flex price" if quoted.flex else " at the ordinary price: no flex price is known"
    sent = f"{counted(quoted.requests, 'request')} now{price if provider.paid else ''}"
    facts = {
        "job": f"{job.job_id} {job.target}",
        "model": model_at(models, provider.name, provider.base_url),
        "in batches": f"{counted(quoted.elsewhere, 'request')}, not sent again" if quoted.elsewhere else "nothing",
    }
    show_facts(err, facts | _to_send(sent, quoted.cost))


def show_preview(preview: Preview) -> None:
    """Print each row with its answer; as plain blocks if stdout is not a terminal."""
    if not sys.stdout.isatty():
        sys.stdout.write("".join(f"{line}\n" for row in preview.rows for line in _block(row)))
        sys.stdout.flush()
        return
    table = Table(box=box.ROUNDED, show_lines=True, expand=True)
    table.add_column("row", justify="right")
    table.add_column("the row", ratio=1, overflow="fold")
    table.add_column("what came back", ratio=1, overflow="fold")
    sent = {name.casefold() for name in preview.sent_columns}
    for row in preview.rows:
        given, came = Text(), Text()
        for name, value in row.input.items():
            _field(given, name, text_of(value), *((_SENT, "") if name.casefold() in sent else (_KEPT, "dim")))
        for name, value in (row.answer or {}).items():
            _field(came, name, text_of(value), 2 * _SENT, "")
        if row.error is not None:
            style = "red" if row.status == "failed" else "dim"
            came.append(f"{row.status}: ", style=f"bold {style}")
            came.append(harmless(row.error), style=style)
        if row.kept:
            came.append("\n" if len(came) else "")
            came.append("kept from before, not sent again", style="dim italic")
        table.add_row(str(row.number), given, came)
    out().print(table)


def tell_preview(preview: Preview, ready: PreparedPreview, database: str) -> None:
    """Print what became of a preview's rows, its cost, and that the answers are kept."""
    parts = nonzero(*((preview.of(status), status) for status in ("answered", "failed", "pending", "skipped")))
    sent = f"{counted(preview.sent, 'request')} sent" if preview.sent else "nothing sent"
    if preview.tokens_in:
        sent += f", {billed_tokens(preview, ' tokens')}"
    if preview.tokens_in and ready.provider.paid:
        sent += f"; cost: {NO_PRICE if preview.dollars is None else in_dollars(preview.dollars)}"
    info(f"{counted(len(preview.rows), 'row')}: {', '.join(parts)}; {sent}")
    if preview.of("answered"):
        info(f"the answers are kept in {database}: enrich does not send these requests again")
    before = sum(row.kept and row.status == "failed" for row in preview.rows)
    if before:
        info(f"{counted(before, 'row')} failed before and are not sent again: add --fresh to send them")


def _field(text: Text, name: str, value: str | None, most: int, style: str) -> None:
    text.append("\n" if len(text) else "")
    text.append(f"{harmless(name)}: ", style=f"bold {style}".strip())
    if value is None:
        text.append("NULL", style="dim")
        return
    shown = value if len(value) <= most else value[: most - 1] + "…"
    text.append(harmless(shown), style=style)


def _block(row: PreviewRow) -> list[str]:
    """Return a row as lines for grep: each field on one line, returned columns after an arrow."""
    lines = [f"row {row.number}: {row.status}{f': {row.error}' if row.error else ''}{', kept' if row.kept else ''}"]
    fields = [(f"  {name}", value) for name, value in row.input.items()]
    fields += [(f"  -> {name}", value) for name, value in (row.answer or {}).items()]
    texts = ((name, text_of(value)) for name, value in fields)
    lines += [f"{name}: {'NULL' if text is None else text}" for name, text in texts]
    return [" ".join(harmless(line).split("\n")) for line in lines]
