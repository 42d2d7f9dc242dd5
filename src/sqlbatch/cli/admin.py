"""The commands prune, config, serve and functions."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import duckdb
import typer

from sqlbatch import config as settings
from sqlbatch import display
from sqlbatch import prune as pruning
from sqlbatch.batches.providers import find_provider, known
from sqlbatch.cli import complete
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import app
from sqlbatch.cli.follow import existing
from sqlbatch.cli.help import RARELY
from sqlbatch.db import jobs as state
from sqlbatch.errors import InvalidOption, InvalidSettings
from sqlbatch.functions import catalogue, live
from sqlbatch.settings import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.batches.providers import Provider


@app.command()
def functions(
    action: Annotated[
        str | None,
        typer.Argument(metavar="[install]", help="install creates the macros in the database.", show_default=False),
    ] = None,
    db: opt.Db = None,
    as_json: opt.Json = False,
) -> int:
    """List the AI functions; with install, create macros that look up their stored answers.

    With the macros, any DuckDB client can run a query with AI functions; calls without an answer are NULL. DuckDB 2.0.

    Example: sqlbatch functions install
    """
    if action not in {None, "install"}:
        raise InvalidOption(f"{action}: the only action is install")
    if action == "install":
        if duckdb.__version__.split(".")[0] < "2":
            raise InvalidSettings(f"the macros need DuckDB 2.0, and this is {duckdb.__version__}: upgrade duckdb")
        made = existing(db).write(live.install)
        if as_json:
            display.print_json(made)
        display.info(f"{len(made)} macros: {', '.join(made)}")
        return display.Exit.DONE
    listed = [
        {"function": each.signature, "returns": each.returns, "about": each.summary}
        for each in catalogue.FUNCTIONS.values()
    ]
    if as_json:
        display.print_json(listed)
    else:
        display.show_rows(["function", "returns", "about"], [list(each.values()) for each in listed])
    return display.Exit.DONE


@app.command()
def prune(
    job: Annotated[
        str | None,
        typer.Option("--job", metavar="JOB", help="Only this job's data.", autocompletion=complete.jobs),
    ] = None,
    results: Annotated[
        bool, typer.Option("--results", help="Also delete results that no target shows any more; their costs stay.")
    ] = False,
    db: opt.Db = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be deleted, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: opt.Json = False,
) -> int:
    """Delete data that finished jobs no longer need: kept rows, inputs, files here and at the provider.

    Results and costs stay, so no answer is paid for twice. A pruned job cannot be retried; run its enrich again. With
    --results, answers that no target shows any more are deleted too: asking for them again costs money again.

    Example: sqlbatch prune --dry-run
    """
    database = existing(db)
    job_id = None
    if job is not None:
        with database.session() as session:
            job_id = state.find(session, job).job_id
    found = pruning.prunable(database, job_id, results=results)
    if dry_run or found.nothing:
        if as_json:
            display.print_json(asdict(found))
        elif found.nothing:
            display.info("nothing to prune")
        else:
            display.info("would be deleted: " + display.prunable(found))
        return display.Exit.DONE
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidSettings(
                "there is no terminal to ask on: add --yes to delete, or --dry-run to see what would be deleted"
            )
        with display.always_print():
            display.info("would be deleted: " + display.prunable(found))
        if not display.confirm("Delete it?"):
            display.info("nothing deleted")
            return display.Exit.ERROR
    done = pruning.prune(database, job_id, results=results)
    if as_json:
        display.print_json(asdict(done))
    display.info("deleted: " + display.prunable(done))
    for problem in done.problems:
        display.error(problem)
    return display.Exit.ERROR if done.problems else display.Exit.DONE


@app.command()
def config(as_json: opt.Json = False) -> int:
    """Show the current settings and where each comes from, the providers, and whether their keys are set.

    A command's option outranks SQLBATCH_… , which outranks sqlbatch.toml (searched for in this folder and those above
    it, then in ~/.config), which outranks the default.

    Example: sqlbatch config
    """
    options = [*(_option(name) for name, each in sorted(OPTIONS.items()) if each.configurable), _month_budget()]
    providers = [_provider(_reached(provider)) for provider in known().values()]
    prices = [{"model": each.name, **each.values, "from": each.where} for each in settings.entries("prices")]
    files = [str(file.path) for file in settings.files()]
    if as_json:
        display.print_json({"files": files, "options": options, "providers": providers, "prices": prices})
        return display.Exit.DONE
    _show_config(files, options, providers, prices)
    if not files:
        display.info(f"no configuration file: put {settings.FILE} here, or {settings.shown(settings.own_file())}")
    return display.Exit.DONE


def _option(name: str) -> dict[str, object]:
    option, held = OPTIONS[name], settings.lookup(name)
    value = held.value if held is not None else option.default or ("false" if option.kind is bool else "none")
    return {"option": name, "value": value, "from": held.origin if held is not None else "default", "is": option.help}


def _month_budget() -> dict[str, object]:
    held = settings.month_budget()
    value = held.value if held is not None else "none"
    what = "dollars that a database may spend in a calendar month, in sqlbatch.toml as month under [budget]"
    return {
        "option": "budget.month",
        "value": value,
        "from": held.origin if held is not None else "default",
        "is": what,
    }


def _reached(provider: Provider) -> Provider:
    """Return a provider with the address in its own variable, if it has one."""
    with contextlib.suppress(InvalidSettings):
        return find_provider(provider.name)
    return provider


def _provider(provider: Provider) -> dict[str, object]:
    variable = provider.key_variable
    return {
        "provider": provider.name,
        "base_url": provider.base_url or None,
        "address": provider.address or None,
        "key_variable": variable,
        "key_set": bool(os.environ.get(variable, "").strip()) if variable else None,
        "purpose": provider.purpose,
        "max_requests": provider.max_requests,
        "max_bytes": provider.max_bytes,
        "max_enqueued_tokens": provider.max_enqueued_tokens,
        "batches_per_hour": provider.batches_per_hour,
        "batch_factor": provider.batch_factor,
        "paid": provider.paid,
        "from": provider.defined or "sqlbatch",
    }


def _show_config(
    files: Sequence[str],
    options: Sequence[dict[str, Any]],
    providers: Sequence[dict[str, Any]],
    prices: Sequence[dict[str, Any]],
) -> None:
    """Print the settings, the providers and the user's own prices; of a key only whether it is set."""
    console = display.out()
    for file in files:
        console.print(f"[dim]file[/]  {display.plain(file)}", soft_wrap=True)
    display.show_table(("option", "value", "from"), [_option_row(each) for each in options])
    display.show_table(("provider", "address", "key"), [_provider_row(each) for each in providers])
    if prices:
        names = ("model", "input", "cached", "cache_write", "output", "batch_factor", "from")
        display.show_table(names, [["" if n not in each else str(each[n]) for n in names] for each in prices])


def _option_row(each: dict[str, Any]) -> list[str]:
    value = str(each["value"]).lower() if isinstance(each["value"], bool) else str(each["value"])
    return [each["option"], value, "" if each["from"] == "default" else each["from"]]


def _provider_row(each: dict[str, Any]) -> list[str]:
    key = "none needed" if each["key_variable"] is None else f"{each['key_variable']}: {_set(each)}"
    where = "in this process, no cost" if each["provider"] == "local" else each["base_url"] or each["address"]
    name = each["provider"] if each["from"] == "sqlbatch" else f"{each['provider']} ({each['from']})"
    return [name, where, key]


def _set(each: dict[str, Any]) -> str:
    return "set" if each["key_set"] else "not set"


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; beyond this machine only with --api-key-env.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="The port; 0 takes a free one.", min=0, max=65535)] = 8000,
    data: Annotated[Path, typer.Option(metavar="DIR", help="The folder that keeps files and batches.")] = Path(
        "batch-server"
    ),
    upstream: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="An OpenAI-compatible server behind it; repeatable."),
    ] = None,
    upstream_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The variable with the upstream's key.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name for the offline model; repeatable."),
    ] = None,
    upstream_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long one request may take upstream.", rich_help_panel=RARELY)
    ] = 600.0,
    concurrency: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Requests in flight at each upstream, at most.", rich_help_panel=RARELY),
    ] = 16,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The variable with the key asked of clients.")
    ] = None,
    faults: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Failures to act out, for tests of clients.", rich_help_panel=RARELY),
    ] = None,
    clock_speed: Annotated[
        float,
        typer.Option(
            metavar="N", help="How fast the server's clock runs: 1440 is a day in a minute.", rich_help_panel=RARELY
        ),
    ] = 1.0,
    window: Annotated[
        float, typer.Option(metavar="SECONDS", help="The completion window of a batch.", rich_help_panel=RARELY)
    ] = 86_400.0,
) -> int:
    """Run a server with OpenAI's Files and Batches API for any model; without --upstream, for the offline model.

    Example: sqlbatch serve --upstream http://127.0.0.1:11434/v1 --data batches --port 8000
    """
    from sqlbatch import server  # noqa: PLC0415 (only this command needs it)

    server.serve(
        server.ServerConfig(
            folder=data,
            host=host,
            port=port,
            upstreams=tuple(upstream or ()),
            upstream_key_env=upstream_key_env,
            upstream_timeout=upstream_timeout,
            concurrency=concurrency,
            api_key_env=api_key_env,
            faults=faults,
            clock_speed=clock_speed,
            window=window,
            models=tuple(model or ()),
        )
    )
    return display.Exit.DONE
