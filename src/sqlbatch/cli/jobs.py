"""The commands about one job: load, publish, retry, cancel."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sqlbatch import config, connection, display, job_actions
from sqlbatch.batches.providers import label
from sqlbatch.cli import complete
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import command
from sqlbatch.cli.follow import agreed, at, confirmed, ending, existing, find, follow, next_step
from sqlbatch.db import jobs as state
from sqlbatch.display.status import GOING_ON
from sqlbatch.errors import InvalidOption
from sqlbatch.lake import publishing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.db.database import Database
    from sqlbatch.db.jobs import JobRow


@command
def load(
    what: Annotated[
        list[str] | None,
        opt.argument(
            "[JOB] [FILE…]", "A job (the newest if left out), and result files.", autocompletion=complete.jobs_and_files
        ),
    ] = None,
    as_file: Annotated[
        list[Path] | None,
        opt.option(
            "--as",
            "FILE",
            "A kept result file you have repaired. It replaces its batch's; requests it lacks are sent again.",
        ),
    ] = None,
    db: opt.Db = None,
    replace: Annotated[bool, opt.flag("--replace", "Replace a table that sqlbatch did not make.")] = False,
    again: Annotated[
        bool, opt.flag("--judge-again", "Check stored answers that were refused again, without paying.")
    ] = False,
    structured: Annotated[
        str | None, opt.option("--structured", "HOW", "With --judge-again: prompt accepts text around the JSON.")
    ] = None,
    threads: opt.Threads = None,
    memory_limit: opt.MemoryLimit = None,
    as_json: opt.Json = False,
) -> int:
    """Write partial results to the target; rows without an answer yet are `pending`.

    FILEs are result files that you downloaded, also compressed. Loading one twice changes nothing. A FILE of --as
    replaces one that could not be read.

    Example: sqlbatch load movie_tags batch_6a1_output.jsonl
    """
    database = existing(db, memory_limit, threads)
    job, files = _job_and_files(what or [])
    files += as_file or []
    found = find(database, job, patient=False)
    imported, judged = None, None
    if again and files:
        raise InvalidOption("--judge-again reads stored answers: leave the files out")
    if structured is not None and not again:
        raise InvalidOption("--structured needs --judge-again here")
    if again:
        judged, joined = job_actions.judge_again(database, found.job_id, structured, replacing=replace)
    elif files:
        imported, joined = job_actions.import_files(
            database, found.job_id, files, replacing=replace, as_whole=bool(as_file)
        )
    else:
        joined = job_actions.load(database, found.job_id, replacing=replace)
    if publishing.is_due(database, found.job_id):
        display.progress.follow(publishing.publish(database, found.job_id, replacing=replace))
    after = find(database, found.job_id, patient=False)
    following = GOING_ON if after.status == "cancelled" else next_step(database, after)
    if as_json:
        more = {"files": asdict(imported)} if imported else {"judged_again": asdict(judged)} if judged else {}
        display.print_json(asdict(joined) | more | {"next": following})
        return display.Exit.DONE
    if imported is not None:
        display.job.show_imported(imported)
    if judged is not None:
        display.info(f"{judged.results:,} stored answers checked again: {judged.answered:,} are usable now")
    display.job.show_joined(joined)
    if replace and not found.kept and after.published_at == found.published_at:
        display.info(
            f"{found.target} stays as it is, because the rows of job {found.job_id} are no longer kept: run its enrich "
            "again with --replace to write it anew"
        )
    if joined.pending or joined.failed:
        display.info(following)
    return display.Exit.DONE


def _job_and_files(words: Sequence[str]) -> tuple[str | None, list[Path]]:
    """Return the job and the files that the words name: the first word is a job unless it is clearly a file."""
    if not words or (not words[0].isdigit() and (Path(words[0]).is_file() or words[0].endswith(".jsonl"))):
        return None, [Path(word) for word in words]
    return words[0], [Path(word) for word in words[1:]]


@command
def publish(
    job: opt.JobArgument = None,
    db: opt.Db = None,
    attach: opt.Attach = None,
    replace: Annotated[bool, opt.flag("--replace", "Replace a table there that sqlbatch did not make.")] = False,
    as_json: opt.Json = False,
) -> int:
    """Bring a job's rows to their target in another database: later, where it was not reached, or again.

    Nothing is asked of a model. The rows are kept here until they are there.

    Example: sqlbatch publish pg.marts.movie_tags
    """
    database = existing(db, attach=attach)
    job_id = find(database, job).job_id
    display.progress.follow(publishing.publish(database, job_id, replacing=replace))
    if as_json:
        display.print_json(display.job.job_json(find(database, job_id), at(database)))
    return display.Exit.DONE


@command
def retry(
    job: opt.JobArgument = None,
    db: opt.Db = None,
    only: Annotated[
        str | None, opt.option("--only", "CODE", "Only failures with this code.", autocompletion=complete.codes)
    ] = None,
    yes: opt.Yes = False,
    no_wait: opt.NoWait = False,
    poll: opt.Poll = None,
    as_json: opt.Json = False,
) -> int:
    """Ask again for the rows that failed, with the same prompt and model. To change those, run enrich.

    Example: sqlbatch retry movie_tags --only refusal
    """
    database = existing(db)
    with database.session() as session:
        found = state.find(session, job)
        provider = connection.provider_of(found)
        failed, cost = job_actions.retry_cost(session, found, provider, only)
    if provider.paid and failed:
        where = label(provider.name, provider.base_url)
        with display.always_print(wanted=cost.must_be_agreed and not yes):
            display.info(
                f"job {found.job_id}: {display.counted(failed, 'failed request')} would go to {where} again; cost: "
                + display.quote.cost(cost)
            )
        if not agreed(cost, None, yes=yes):
            return display.Exit.ERROR
        connection.check_provider(database, provider)
    again = job_actions.retry(database, found.job_id, only)
    display.info(
        f"job {found.job_id}: {display.counted(again, 'failed request')} asked again, as they were "
        "(another prompt or parameter is a new enrich)"
    )
    follow(database, found.job_id, provider, once=no_wait, poll=config.poll(poll))
    return ending(database, found.job_id, as_json=as_json, rows=not no_wait)


@command
def cancel(
    job: Annotated[
        str | None,
        opt.argument(
            "JOB",
            "A job's number or its target's name. Without one, it asks whether to cancel the newest.",
            autocompletion=complete.jobs,
        ),
    ] = None,
    db: opt.Db = None,
    give_up: Annotated[
        bool, opt.flag("--give-up", "Do not wait for batches that never end or that the provider forgot; asks first.")
    ] = False,
    yes: opt.Yes = False,
    poll: opt.Poll = None,
    as_json: opt.Json = False,
) -> int:
    """Stop a job: cancel its batches, unless another job needs them; answers received so far are kept.

    Example: sqlbatch cancel movie_tags
    """
    database = existing(db)
    found = find(database, job, patient=False)
    newest = f"job {found.job_id} ({found.target}, {found.answered:,} of {found.requests:,} requests answered)"
    refusal = f"name the job to cancel; the newest is {newest}: sqlbatch cancel {found.job_id}"
    if job is None and not yes and not confirmed(f"Cancel {newest}?", refusal, "nothing cancelled", InvalidOption):
        return display.Exit.ERROR
    if give_up:
        return _give_up(database, found, yes=yes, as_json=as_json)
    if not job_actions.cancel(database, found.job_id):
        display.info(f"job {found.job_id} was cancelled before; waiting for its batches at the provider")
    follow(database, found.job_id, connection.provider_of(found), once=False, poll=config.poll(poll), back="cancel")
    return _cancelled(database, found.job_id, as_json=as_json)


def _give_up(database: Database, job: JobRow, *, yes: bool, as_json: bool) -> int:
    """Release the requests of a job's batches that do not come back, after asking: they may have been billed."""
    with database.session() as session:
        stuck = job_actions.stuck(session, job, connection.provider_of(job))
    if stuck.batches:
        others = f", also for {display.counted(len(stuck.waiting), 'other job')}" if stuck.waiting else ""
        paid = (
            f"may have been answered and billed, and are paid again when they are sent again: {stuck.cost.in_words()}"
            if stuck.paid
            else "are free"
        )
        with display.always_print(wanted=not yes):
            display.info(
                f"job {job.job_id} waits at {label(job.provider, job.base_url)} for "
                f"{display.counted(stuck.requests, 'request')} in "
                f"{display.counted(stuck.batches, 'batch', 'batches')}, "
                f"about {stuck.tokens:,} tokens of input. They {paid}{others}"
            )
        refusal = "giving up may mean paying for the same requests twice: add --yes to do it without being asked"
        if not yes and not confirmed("Give them up?", refusal, "nothing given up, nothing changed"):
            return display.Exit.ERROR
    job_actions.cancel(database, job.job_id)
    display.progress.follow(job_actions.give_up(database, job.job_id))
    return _cancelled(database, job.job_id, as_json=as_json)


def _cancelled(database: Database, job_id: int, *, as_json: bool) -> int:
    with database.session() as session:
        after, billed = state.find(session, str(job_id)), state.billed(session, job_id)
    if as_json:
        display.print_json(display.job.job_json(after, at(database), billed))
    display.info(
        f"job {after.job_id} cancelled: {after.answered:,} of {after.requests:,} requests were answered and are kept; "
        + next_step(database, after)
    )
    return display.Exit.DONE
