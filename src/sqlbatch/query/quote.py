"""The quote: what would be sent, what would not, and why. It is shown before anything is spent."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlbatch.errors import InvalidTarget
from sqlbatch.query import confidence
from sqlbatch.query.cost import NO_COST, Cost, Requests, cost_of
from sqlbatch.query.enrichment import Enrichment
from sqlbatch.query.request import is_identity
from sqlbatch.query.target import Existing, Target, changed, look_up
from sqlbatch.trace import masked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.db.prices import Month
    from sqlbatch.db.session import Session
    from sqlbatch.query.compile import Compiled
    from sqlbatch.query.request import Call


@dataclass(frozen=True)
class Stage:
    """One stage of a query with AI functions: its calls, and their requests, which go into the same batches.

    The first stage is exact; for later stages, `requests`, `to_send` and `cost` are the most they can be. If conditions
    were asked before, `passed` of `judged` answers let a row through, and `about` requests are likely.
    """

    number: int
    calls: tuple[str, ...]
    requests: int
    to_send: int
    cost: Cost
    about: int | None = None
    passed: int = 0
    judged: int = 0

    @property
    def share(self) -> tuple[float, float]:
        """The range for the fraction of rows that pass: the 95 % Wilson interval."""
        mean, z = self.passed / self.judged, 1.96
        middle = mean + z * z / (2 * self.judged)
        around = z * math.sqrt(mean * (1 - mean) / self.judged + z * z / (4 * self.judged * self.judged))
        whole = 1 + z * z / self.judged
        return max(0.0, (middle - around) / whole), min(1.0, (middle + around) / whole)

    def as_dict(self) -> dict[str, object]:
        """Return the stage as a JSON object."""
        return asdict(self) | {"cost": self.cost.as_dict(), "exact": self.number == 1}


@dataclass(frozen=True)
class Quote:
    """The quote of an enrichment: counts of rows and requests, bytes of the lines to send, notes for the reader.

    `expected_seconds` is the median time of `expected_from` earlier batches of the model; None if too few are known.
    """

    target: str
    provider: str
    base_url: str
    model: str
    rows: int
    skipped: int
    distinct: int
    answered: int
    failed_before: int
    in_flight: int
    to_send: int
    batches: int
    bytes: int
    tokens: int
    sent_columns: tuple[str, ...]
    also_kept: tuple[str, ...]
    skipped_why: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    pictures: int = 0
    picture_bytes: int = 0
    unsent: int = 0
    unsent_why: tuple[tuple[str, int], ...] = ()
    cost: Cost = NO_COST
    stages: tuple[Stage, ...] = ()
    expected_seconds: float | None = None
    expected_from: int = 0
    fused: int = 0

    def over(self, max_cost: float | None, month: Month | None = None) -> str | None:
        """Return why the cost may exceed `max_cost` dollars or the rest of the month's budget, and what to do.

        None if it cannot. For a query in stages, only the first must fit; a later stage is held back if it turns out
        too expensive.
        """
        return (self.stages[0].cost if self.stages else self.cost).over(max_cost, month)

    def as_dict(self) -> dict[str, object]:
        """Return the quote as a JSON object."""
        whys = {"skipped_why": dict(self.skipped_why), "unsent_why": dict(self.unsent_why)}
        values = asdict(self) | whys | {"cost": self.cost.as_dict()}
        if not self.stages:
            del values["stages"], values["fused"]
            return values
        return values | {"stages": [stage.as_dict() for stage in self.stages]}


@dataclass(frozen=True)
class Known:
    """Counts of requests: answered, failed for good, in flight, and to send, with the bytes and tokens of the last.

    Also their pictures with the bytes of these, and how many rows cannot be sent, and why.
    """

    answered: int
    failed_before: int
    in_flight: int
    to_send: int
    bytes: int
    tokens: int
    pictures: int = 0
    picture_bytes: int = 0
    unsent: int = 0
    unsent_why: tuple[tuple[str, int], ...] = ()


def make_quote(
    session: Session,
    enrichment: Enrichment,
    compiled: Compiled,
    target: Target,
    batch_factor: float | None,
    *,
    fresh: bool,
    replace: bool,
) -> Quote:
    """Return the quote of a compiled enrichment; the requests to send are in the scratch database as `to_send`.

    `batch_factor` is the provider's (0: free, None: unknown). `batches` stays 0 here; the layer that packs fills it in.
    Raises InvalidTarget if the target may not be replaced, InvalidSettings if requests are to be sent to a model that
    was shut down.
    """
    images = bool(compiled.prompt_sql.images)
    known = count_known(session, compiled.scratch, fresh=fresh, images=images, call=compiled.call)
    existing = look_up(session, target)
    notes = check_existing(session, existing, enrichment, compiled.rows, target, replace=replace)
    again = asked_again(session, compiled, fresh=fresh, local=enrichment.provider == "local")
    if existing and not notes and not again and known.to_send == compiled.distinct and compiled.distinct and not fresh:
        notes = _what_changed(session, existing, enrichment)
    cost, of_price = cost_of(session, enrichment, to_send(compiled), known.to_send, batch_factor)
    sent = {name.casefold() for name in compiled.prompt_sql.columns}
    return Quote(
        target=target.sql,
        provider=enrichment.provider,
        base_url=enrichment.base_url,
        model=enrichment.model,
        rows=compiled.rows,
        skipped=compiled.skipped,
        distinct=compiled.distinct,
        batches=0,
        sent_columns=compiled.prompt_sql.columns,
        also_kept=tuple(column.name for column in compiled.columns if column.name.casefold() not in sent),
        skipped_why=compiled.skipped_why,
        notes=(*again, *notes, *of_price),
        cost=cost,
        **(vars(known) | {"tokens": cost.tokens}),
    )


# The number of batches of a model that show how long the next one takes.
ENOUGH_BATCHES = 3


def with_finish(session: Session, quote: Quote) -> Quote:
    """Return a quote with the likely duration of its batches, if earlier ones of the model show it."""
    if not session.has_schema():
        return quote
    known, seconds = session.run("quote.took", {"base_url": quote.base_url, "model": quote.model})[0]
    if known < ENOUGH_BATCHES:
        return quote
    return dataclasses.replace(quote, expected_seconds=seconds, expected_from=known)


def to_send(compiled: Compiled) -> Requests:
    """Return the requests to send of a compiled enrichment, once `count_known` has listed them."""
    return Requests(f"{compiled.scratch}.main.to_send", str(compiled.call.call_id), compiled.call.writes_cache)


def check_existing(
    session: Session, existing: Existing | None, enrichment: Enrichment, rows: int, target: Target, *, replace: bool
) -> tuple[str, ...]:
    """Return notes about an existing table of the target's name; raise InvalidTarget if it may not be replaced."""
    if existing is None:
        return ()
    if existing.kind == "view":
        raise InvalidTarget(
            f"{target.sql} is a view, and sqlbatch never replaces a view: choose another name with --into"
        )
    if existing.job_id is None:
        if not replace:
            if existing.stranger:
                raise InvalidTarget(
                    f"the table {target.sql} was published by another sqlbatch database: choose another name with "
                    "--into, or add --replace to put the result in its place"
                )
            raise InvalidTarget(
                f"the table {target.sql} exists and was not made by sqlbatch: choose another name with --into, or add "
                "--replace to overwrite it"
            )
        return (f"{target.sql}: the table that has this name now ({existing.rows:,} rows) is replaced",)
    if enrichment.incremental and not replace:
        key = ", ".join(enrichment.unique_key)
        return (f"{target.sql} has {existing.rows:,} rows; those of this query update them by {key}, or are added",)
    what = changed(session, target, existing)
    if what and not replace:
        raise InvalidTarget(
            f"{target.sql} was changed since job {existing.job_id} wrote it: {what}. Add --replace to overwrite the "
            "changes, or name another table with --into"
        )
    if what:
        return (
            f"{target.sql}: it was changed since job {existing.job_id} wrote it ({what}); the changes are overwritten",
        )
    query, text = session.run("target.previous", {"job_id": existing.job_id})[0]
    asked_before = (query, Enrichment.from_json(text).limit)
    if rows < existing.rows and asked_before != (masked(enrichment.query, sql=True), enrichment.limit):
        shrinking = f"{target.sql}: {existing.rows:,} -> {rows:,} rows"
        if not replace:
            raise InvalidTarget(
                f"{shrinking}, from another query: add --replace if that is intended, or name another --into"
            )
        return (shrinking,)
    return ()


def count_known(
    session: Session,
    scratch: str,
    *,
    fresh: bool,
    images: bool = False,
    call: Call | None = None,
    calls: Sequence[Call] = (),
) -> Known:
    """List in the scratch database which requests are `known` and which are `to_send`, and count them.

    The token limit of `call`, or of each of the `calls` of a planned query, decides which cut answers are settled.
    """
    if session.has_schema() and not fresh:
        session.run("quote.known", sent_by(call), scratch=scratch, refused=confidence.REFUSED)
        if calls:
            caps = [{"call_id": each.call_id, "cap": each.cap} for each in calls]
            session.run("functions.cut_before", {"caps": caps}, scratch=scratch, asked="asked")
    else:
        session.run("quote.unknown", scratch=scratch)
    if images:
        session.run("pictures.known", scratch=scratch)
    session.run("quote.to_send", scratch=scratch)
    known = Known(*session.run("quote.counts", scratch=scratch)[0])
    if not images:
        return known
    shown, size = session.run("pictures.quoted", scratch=scratch)[0]
    why = tuple((reason, count) for reason, count in session.run("pictures.unsent", scratch=scratch))
    return dataclasses.replace(
        known, pictures=shown, picture_bytes=size, unsent=sum(count for _, count in why), unsent_why=why
    )


def sent_by(call: Call | None) -> dict[str, object]:
    """Return the facts of a call that decide which results are final for it."""
    return {"cap": 0, "logprobs": False} if call is None else {"cap": call.cap, "logprobs": call.logprobs}


def asked_again(session: Session, compiled: Compiled, *, fresh: bool, local: bool) -> tuple[str, ...]:
    """Return notes about answers that are requested again only because they came without log probabilities."""
    if not compiled.call.logprobs or fresh or not session.has_schema():
        return ()
    again = session.run("quote.asked_again", scratch=compiled.scratch)[0][0]
    if not again:
        return ()
    paid = "" if local else ", and paid for,"
    one = again == 1
    what = f"{again:,} {'answer' if one else 'answers'} came without log probabilities before, and"
    return (f"--confidence: {what} {'is' if one else 'are'} requested{paid} again",)


def _what_changed(session: Session, existing: Existing, enrichment: Enrichment) -> tuple[str, ...]:
    """Return what differs from the target's last job, if none of its answers can be reused."""
    _, text = session.run("target.previous", {"job_id": existing.job_id})[0]
    before = Enrichment.from_json(text)
    enrichment = dataclasses.replace(enrichment, query=masked(enrichment.query, sql=True))
    labels = {"inputs": "input", "base_url": "provider", "images": "image"}
    names = ("prompt", "instructions", "inputs", "model", "endpoint", "base_url", "query", "images")
    differing = [f"{labels.get(n, n)} differs" for n in names if getattr(before, n) != getattr(enrichment, n)]
    old, new = dict(before.params), dict(enrichment.params)
    params = [n for n in sorted(old.keys() | new.keys()) if old.get(n) != new.get(n) and is_identity(n)]
    differing += [f"{name} differs" for name in params]
    if before.returns != enrichment.returns:
        differing.append(f"returns differs: {before.returns or 'none'} -> {enrichment.returns or 'none'}")
    if not differing:
        return ()
    answers = session.run("quote.paid", {"job_id": existing.job_id})[0][0]
    paid = f"{answers:,} {'' if enrichment.provider == 'local' else 'paid '}answer{'s' * (answers != 1)}"
    return (f"{'; '.join(differing)}: {paid} of job {existing.job_id} {'is' if answers == 1 else 'are'} not reused",)
