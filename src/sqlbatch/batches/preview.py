"""Send a few requests to the ordinary endpoint, at once; paid results are kept as a batch's results are."""

from __future__ import annotations

import json
import os
import re
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlbatch import clock
from sqlbatch.batches import render
from sqlbatch.batches.events import Event, Previewed, Waiting
from sqlbatch.batches.parse_results import parse_results
from sqlbatch.batches.transfer import in_threads
from sqlbatch.errors import DatabaseConflict, DatabaseLocked, ProviderError
from sqlbatch.leases import is_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sqlbatch.batches.client import BatchAPI, Reply
    from sqlbatch.db.database import Database
    from sqlbatch.db.session import Session

# Requests in flight at a time: a preview of five rows is one round, and stays within rate limits.
AT_ONCE = 8
# How often a request that was refused for rate is repeated, and the longest wait before it, in seconds.
TRIES, LONGEST_WAIT = 3, 30.0
# Requests at the flex price are refused while the provider has no capacity, which costs nothing. Each is repeated for
# this many seconds, with pauses that grow up to the second number.
FLEX_PATIENCE, FLEX_PAUSE = 900.0, 60.0
# Seconds for the answer to a flex request: what OpenAI's guide to flex processing advises.
FLEX_TIMEOUT = 900.0
# Seconds for which a run reserves the requests that it sends for a job. The reservation is renewed as answers come;
# that of a dead run expires.
LEASE = 3_600.0
# Statuses of a refused request that may succeed later: OpenAI's, a busy server's, Groq's for flex.
_NO_ROOM = frozenset({429, 503, 498})


@dataclass(frozen=True)
class PreviewResult:
    """The result of a request; `kept` if it was paid for and is stored in the results."""

    custom_id: str
    outcome: str
    code: str | None
    message: str | None
    kept: bool
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_cache_write: int = 0
    tokens_out: int = 0


@dataclass(frozen=True)
class Asking:
    """What a preview works with; `owner` names this run in its files, `check` is as in StepContext.

    `around` are the head and tail of a body as it is sent, `cap` the most tokens of an answer, and `logprobs` whether
    log probabilities are requested. With `flex`, a request waits for capacity.
    """

    database: Database
    call_id: str
    owner: str
    spool: Path
    check: Callable[[str, str], str]
    around: tuple[str, str]
    cap: int | None
    flex: bool = False
    logprobs: bool = False


def ask(work: Asking, api: BatchAPI, custom_ids: Sequence[str], received: list[PreviewResult]) -> Iterator[Event]:
    """Send stored requests, a few at a time; append each result to `received` as it arrives.

    An answer is written to a file before anything else is done with it, and is in the database before the next check.
    Provider errors are not raised but become the request's result. After an interrupt, `keep` stores what arrived in
    between.
    """
    bodies, unreadable = work.database.read(lambda session: render.bodies(session, custom_ids, around=work.around))
    received += [PreviewResult(each, "failed", render.UNREADABLE, why, False) for each, why in unreadable.items()]
    told: deque[Event] = deque()

    def ask_one(number: int, custom_id: str, endpoint: str, body: str) -> None:
        if work.database.guard is not None:
            work.database.guard()
        _write(work, number, _asked(api, custom_id, endpoint, body, told.append, flex=work.flex))

    tasks = [partial(ask_one, number, *each) for number, each in enumerate(bodies)]
    ends, done = in_threads(tasks, AT_ONCE), 0
    yield Previewed(0, len(bodies))
    for end in ends:
        while told:
            yield told.popleft()
        if end is None:
            continue
        if end.error is not None:
            raise end.error
        done += 1
        yield from keep(work, received)
        yield Previewed(done, len(bodies))


def keep(work: Asking, received: list[PreviewResult]) -> Iterator[Event]:
    """Store the answers that have arrived for this run and are not stored yet, waiting for a locked database."""
    files = [path for path in work.spool.glob(f"preview-{work.call_id}-*.jsonl") if _owner(path) == work.owner]
    while files:
        try:
            received += store(work.database, work.call_id, files, work.check, work.cap, logprobs=work.logprobs)
        except (DatabaseLocked, DatabaseConflict) as error:
            yield Waiting(str(error), 1.0)
            clock.sleep(1.0)
        else:
            return


def recover_interrupted(database: Database, spool: Path, check: Callable[[str, str], str]) -> int:
    """Store the answers of previews that were killed before they could; return how many there were.

    Requests that such a run had reserved for a job and that have no answer are due again.
    """
    left: dict[str, list[Path]] = {}
    for path in spool.glob("preview-*"):
        if not is_gone(_owner(path)):
            continue
        if path.suffix == ".part":
            path.unlink(missing_ok=True)
        else:
            left.setdefault(path.name[len("preview-") :][:36], []).append(path)
    stored = sum(len(store(database, call_id, files, check)) for call_id, files in left.items())
    for batch_id, owner, until in database.query("preview.held"):
        if is_gone(owner) or until <= clock.now():
            release(database, batch_id)
    return stored


def release(database: Database, batch_id: str) -> None:
    """End the reservation of requests that were sent for a job: those without an answer are due again."""

    def write(session: Session) -> None:
        session.run("preview.unanswered", {"batch_id": batch_id})
        session.run("preview.end", {"batch_id": batch_id, "now": clock.now()})

    database.write(write)


def store(
    database: Database,
    call_id: str,
    files: Sequence[Path],
    check: Callable[[str, str], str],
    cap: int | None = None,
    *,
    logprobs: bool = False,
) -> list[PreviewResult]:
    """Store the answers in files of one call, in one transaction, then delete the files; return the results."""

    def write(session: Session) -> list[PreviewResult]:
        session.run("database.planner_lock")
        # Another process may have stored the answers, and deleted the files.
        there = [path for path in files if path.exists()]
        if not there:
            return []
        call = session.run("preview.call", {"call_id": call_id})
        if not call:
            return []
        endpoint, returns = call[0]
        parse_results(session, there, endpoint, check(endpoint, returns))
        session.append_results("preview.keep", {"now": clock.now(), "cap": cap, "logprobs": logprobs})
        for owner in {_owner(path) for path in there}:
            session.run("preview.renew", {"owner": owner, "until": clock.after(LEASE)})
        return [PreviewResult(*row) for row in session.run("preview.told")]

    results = database.write(write)
    for path in files:
        path.unlink(missing_ok=True)
    return results


def _asked(
    api: BatchAPI, custom_id: str, endpoint: str, body: str, tell: Callable[[Event], None], *, flex: bool
) -> str:
    """Return the reply to a request as the line of a result file."""
    head = f'{{"custom_id":"{custom_id}","asked_at":"{clock.now().isoformat()}"'
    patient_until = clock.after(FLEX_PATIENCE)
    attempt = 0
    while True:
        attempt += 1
        try:
            reply = api.ask(endpoint, body, FLEX_TIMEOUT if flex else None)
        except ProviderError as error:
            problem = json.dumps({"code": "unreachable", "message": str(error)})
            return f'{head},"response":null,"error":{problem}}}'
        if reply.status not in _NO_ROOM or reply.final:
            break
        wait = reply.retry_after if reply.retry_after is not None else min(2.0**attempt, FLEX_PAUSE)
        if clock.after(wait) > patient_until if flex else attempt == TRIES or wait > LONGEST_WAIT:
            break
        why = "no room at the flex price now, which is not billed" if flex else "too many requests"
        tell(Waiting(f"{api.name} said {reply.status} ({why}); asked again", wait))
        clock.sleep(wait)
    return f'{head},"response":{{"status_code":{reply.status},"body":{_body_of(reply)}}},"error":null}}'


def _body_of(reply: Reply) -> str:
    """Return the body of a reply unchanged but on one line; of one that is not JSON, an error with its start."""
    try:
        json.loads(reply.text)
    except ValueError:
        start = " ".join(reply.text.split())[:200] or "nothing"
        message = f"the provider answered {reply.status} with something else than JSON: {start}"
        return json.dumps({"error": {"code": None if reply.status >= 300 else "not_json", "message": message}})
    # In JSON, a line break can stand only where any space can.
    return reply.text.replace("\r", " ").replace("\n", " ")


def _write(work: Asking, number: int, line: str) -> None:
    """Write an answer's file whole or not at all, because it may be the only trace of a paid answer."""
    path = work.spool / f"preview-{work.call_id}-{work.owner}-{number}.jsonl"
    part = path.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(line + "\n")
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)


def _owner(path: Path) -> str:
    found = re.fullmatch(r"preview-[0-9a-f-]{36}-(.+)-\d+\.(?:jsonl|part)", path.name)
    return found[1] if found else ""
