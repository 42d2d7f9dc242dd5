"""A preview as a person reads it: what would be sent, and each row beside what came back for it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from sqlbatch.batches.providers import label
from sqlbatch.display.console import counted, err, harmless, out, say, show_facts
from sqlbatch.display.money import NO_PRICE, cost, tokens
from sqlbatch.display.quote import show_notes
from sqlbatch.previewed import text_of
from sqlbatch.query.cost import in_dollars

if TYPE_CHECKING:
    from sqlbatch.previewed import Preview, PreviewRow
    from sqlbatch.trial import PreparedPreview

# Characters of a value that are shown on a terminal; --json has all of them.
_SEEN, _ALONG = 400, 60


def show_trial(trial: PreparedPreview) -> None:
    """Tell what a preview would send, and where."""
    known, provider = trial.known, trial.provider
    offline = " (no language model: it answers from the text alone)" if provider.name == "local" else ""
    facts = {"model": f"{trial.enrichment.model} at {label(provider.name, provider.base_url)}{offline}"}
    facts["rows"] = f"{trial.compiled.rows:,}" + "".join(
        f"; {count:,} skipped: {reason}" for reason, count in trial.compiled.skipped_why
    )
    facts["the model sees"] = ", ".join(trial.compiled.sight.columns)
    parts = [f"{trial.compiled.distinct:,} distinct"]
    parts += [f"{known.answered:,} answered before"] if known.answered else []
    parts += [f"{known.failed:,} failed before, not sent (--fresh sends them)"] if known.failed else []
    parts += [f"{known.in_flight:,} in a batch already"] if known.in_flight else []
    facts["requests"] = ", ".join(parts)
    price = "" if provider.name == "local" else " at the ordinary price, not the batch's"
    if known.to_send:
        facts["to send"] = f"{counted(known.to_send, 'request')} now{price}"
        facts["tokens"] = tokens(trial.cost)
    else:
        facts["to send"] = "nothing"
    facts["cost"] = cost(trial.cost)
    show_facts(err, facts)
    show_notes(trial.notes)


def show_preview(preview: Preview) -> None:
    """Print each row beside what came back for it; plain blocks where stdout is no terminal."""
    if not sys.stdout.isatty():
        sys.stdout.write("".join(f"{line}\n" for row in preview.rows for line in _block(row)))
        sys.stdout.flush()
        return
    table = Table(box=box.ROUNDED, show_lines=True, expand=True)
    table.add_column("row", justify="right")
    table.add_column("the row", ratio=1, overflow="fold")
    table.add_column("what came back", ratio=1, overflow="fold")
    for row in preview.rows:
        table.add_row(str(row.number), _input(preview, row), _answer(row))
    out().print(table)


def tell_preview(preview: Preview, trial: PreparedPreview, database: str) -> None:
    """Tell what became of a preview's rows, what it took, and that it is kept."""
    parts = [f"{preview.of(status):,} {status}" for status in ("answered", "failed", "pending", "skipped")]
    parts = [part for part in parts if not part.startswith("0 ")]
    sent = f"{counted(preview.sent, 'request')} sent" if preview.sent else "nothing sent"
    if preview.tokens_in:
        sent += f", {preview.tokens_in:,} tokens in ({preview.tokens_cached:,} cached), {preview.tokens_out:,} out"
    if preview.tokens_in and trial.provider.paid:
        sent += f"; cost: {NO_PRICE if preview.dollars is None else in_dollars(preview.dollars)}"
    say(f"{counted(len(preview.rows), 'row')}: {', '.join(parts)}; {sent}")
    if preview.of("answered"):
        offline = ", by the offline model, which is no language model" if trial.provider.name == "local" else ""
        say(f"the answers are kept in {database}{offline}: a batch does not ask for them again")
    before = sum(row.kept and row.status == "failed" for row in preview.rows)
    if before:
        say(f"{counted(before, 'row')} failed before, and so no batch asks again: the same with --fresh does")


def _input(preview: Preview, row: PreviewRow) -> Text:
    sees = {name.casefold() for name in preview.sees}
    text = Text()
    for name, value in row.input.items():
        seen = name.casefold() in sees
        _field(text, name, text_of(value), _SEEN if seen else _ALONG, "" if seen else "dim")
    return text


def _answer(row: PreviewRow) -> Text:
    text = Text()
    for name, value in (row.answer or {}).items():
        _field(text, name, text_of(value), 2 * _SEEN, "")
    if row.error is not None:
        style = "red" if row.status == "failed" else "dim"
        text.append(f"{row.status}: ", style=f"bold {style}")
        text.append(harmless(row.error), style=style)
    if row.kept:
        text.append("\n" if len(text) else "")
        text.append("kept from before, not sent again", style="dim italic")
    return text


def _field(text: Text, name: str, value: str | None, most: int, style: str) -> None:
    text.append("\n" if len(text) else "")
    text.append(f"{harmless(name)}: ", style=f"bold {style}".strip())
    if value is None:
        text.append("NULL", style="dim")
        return
    shown = value if len(value) <= most else value[: most - 1] + "…"
    text.append(harmless(shown), style=style)


def _block(row: PreviewRow) -> list[str]:
    """Return a row as lines for grep: each field on one line, what came back behind an arrow."""
    lines = [f"row {row.number}: {row.status}{f': {row.error}' if row.error else ''}{', kept' if row.kept else ''}"]
    fields = [(f"  {name}", value) for name, value in row.input.items()]
    fields += [(f"  -> {name}", value) for name, value in (row.answer or {}).items()]
    texts = ((name, text_of(value)) for name, value in fields)
    lines += [f"{name}: {'NULL' if text is None else text}" for name, text in texts]
    return [" ".join(harmless(line).split("\n")) for line in lines]
