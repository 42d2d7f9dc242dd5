"""The commands prune, config, serve and functions."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import duckdb

from sqlbatch import config as settings
from sqlbatch import display
from sqlbatch import prune as pruning
from sqlbatch.batches.providers import find_provider, known
from sqlbatch.cli import complete
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import command
from sqlbatch.cli.follow import confirmed, existing, find
from sqlbatch.errors import InvalidOption, InvalidSettings
from sqlbatch.functions import answers, catalogue
from sqlbatch.settings import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlbatch.batches.providers import Provider


@command
def functions(
    action: Annotated[str | None, opt.argument("[install]", "install creates the macros in the database.")] = None,
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
        made = existing(db).write(answers.install)
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
        display.tables.show_rows(["function", "returns", "about"], [list(each.values()) for each in listed])
    return display.Exit.DONE


@command
def prune(
    job: Annotated[
        str | None, opt.option("--job", "JOB", "Only this job's data.", autocompletion=complete.jobs)
    ] = None,
    results: Annotated[
        bool, opt.flag("--results", "Also delete results that no target shows any more; their costs stay.")
    ] = False,
    db: opt.Db = None,
    dry_run: Annotated[bool, opt.flag("--dry-run", "Print what would be deleted, and stop.")] = False,
    yes: Annotated[bool, opt.flag("--yes", "Do not ask.", "-y")] = False,
    as_json: opt.Json = False,
) -> int:
    """Delete data that finished jobs no longer need: kept rows, inputs, files here and at the provider.

    Results and costs stay, so no answer is paid for twice. A pruned job cannot be retried; run its enrich again. With
    --results, answers that no target shows any more are deleted too: asking for them again costs money again.

    Example: sqlbatch prune --dry-run
    """
    database = existing(db)
    job_id = find(database, job, patient=False).job_id if job is not None else None
    found = pruning.prunable(database, job_id, results=results)
    if dry_run or found.nothing:
        if as_json:
            display.print_json(asdict(found))
        elif found.nothing:
            display.info("nothing to prune")
        else:
            display.info("would be deleted: " + display.job.prunable(found))
        return display.Exit.DONE
    if not yes and not confirmed(
        f"would be deleted: {display.job.prunable(found)}\nDelete it?",
        "there is no terminal to ask on: add --yes to delete, or --dry-run to see what would be deleted",
        "nothing deleted",
    ):
        return display.Exit.ERROR
    done = pruning.prune(database, job_id, results=results)
    if as_json:
        display.print_json(asdict(done))
    display.info("deleted: " + display.job.prunable(done))
    for problem in done.problems:
        display.error(problem)
    return display.Exit.ERROR if done.problems else display.Exit.DONE


@command
def config(as_json: opt.Json = False) -> int:
    """Show the current settings and where each comes from, the providers, and whether their keys are set.

    A command's option outranks SQLBATCH_… , which outranks sqlbatch.toml (searched for in this folder and those above
    it, then in ~/.config), which outranks the default.

    Example: sqlbatch config
    """
    options = [
        _setting(name, each.help, each.default or ("false" if each.kind is bool else "none"), settings.lookup(name))
        for name, each in sorted(OPTIONS.items())
        if each.configurable
    ]
    what = "dollars that a database may spend in a calendar month, in sqlbatch.toml as month under [budget]"
    options.append(_setting("budget.month", what, "none", settings.month_budget()))
    providers = [_provider(provider) for provider in known().values()]
    prices = [{"model": each.name, **each.values, "from": each.where} for each in settings.entries("prices")]
    files = [str(file.path) for file in settings.files()]
    if as_json:
        display.print_json({"files": files, "options": options, "providers": providers, "prices": prices})
        return display.Exit.DONE
    _show_config(files, options, providers, prices)
    if not files:
        display.info(f"no configuration file: put {settings.FILE} here, or {settings.shown(settings.own_file())}")
    return display.Exit.DONE


def _setting(name: str, what: str, default: str, held: settings.Setting | None) -> dict[str, object]:
    value, origin = (default, "default") if held is None else (held.value, held.origin)
    return {"option": name, "value": value, "from": origin, "is": what}


def _provider(provider: Provider) -> dict[str, object]:
    with contextlib.suppress(InvalidSettings):
        # Its own variable may have its address.
        provider = find_provider(provider.name)
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
    display.tables.show_table(("option", "value", "from"), [_option_row(each) for each in options])
    display.tables.show_table(("provider", "address", "key"), [_provider_row(each) for each in providers])
    if prices:
        names = ("model", "input", "cached", "cache_write", "output", "batch_factor", "from")
        display.tables.show_table(names, [["" if n not in each else str(each[n]) for n in names] for each in prices])


def _option_row(each: dict[str, Any]) -> list[str]:
    value = str(each["value"]).lower() if isinstance(each["value"], bool) else str(each["value"])
    return [each["option"], value, "" if each["from"] == "default" else each["from"]]


def _provider_row(each: dict[str, Any]) -> list[str]:
    key = "set" if each["key_set"] else "not set"
    key = "none needed" if each["key_variable"] is None else f"{each['key_variable']}: {key}"
    where = "in this process, no cost" if each["provider"] == "local" else each["base_url"] or each["address"]
    name = each["provider"] if each["from"] == "sqlbatch" else f"{each['provider']} ({each['from']})"
    return [name, where, key]


@command
def serve(
    host: Annotated[
        str, opt.option("--host", "ADDRESS", "Where to listen; beyond this machine only with --api-key-env.")
    ] = "127.0.0.1",
    port: Annotated[int, opt.option("--port", "N", "The port; 0 takes a free one.", min=0, max=65535)] = 8000,
    data: Annotated[Path, opt.option("--data", "DIR", "The folder that keeps files and batches.")] = Path(
        "batch-server"
    ),
    upstream: Annotated[
        list[str] | None, opt.option("--upstream", "URL", "An OpenAI-compatible server behind it; repeatable.")
    ] = None,
    upstream_key_env: Annotated[
        str | None, opt.option("--upstream-key-env", "NAME", "The variable with the upstream's key.")
    ] = None,
    model: Annotated[
        list[str] | None, opt.option("--model", "NAME", "Another name for the offline model; repeatable.")
    ] = None,
    upstream_timeout: Annotated[
        float, opt.option("--upstream-timeout", "SECONDS", "How long one request may take upstream.", rare=True)
    ] = 600.0,
    concurrency: Annotated[
        int, opt.option("--concurrency", "N", "Requests in flight at each upstream, at most.", rare=True, min=1)
    ] = 16,
    api_key_env: Annotated[
        str | None, opt.option("--api-key-env", "NAME", "The variable with the key asked of clients.")
    ] = None,
    faults: Annotated[
        Path | None, opt.option("--faults", "FILE", "Failures to simulate, for tests of clients.", rare=True)
    ] = None,
    clock_speed: Annotated[
        float,
        opt.option("--clock-speed", "N", "How fast the server's clock runs: 1440 is a day in a minute.", rare=True),
    ] = 1.0,
    window: Annotated[
        float, opt.option("--window", "SECONDS", "The completion window of a batch.", rare=True)
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
