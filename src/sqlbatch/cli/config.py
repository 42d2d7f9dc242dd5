"""The command that says what holds, and where each of it comes from."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from sqlbatch import config as read
from sqlbatch import display
from sqlbatch.batches.providers import find_provider, known
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import app
from sqlbatch.errors import InvalidSettings

if TYPE_CHECKING:
    from sqlbatch.batches.providers import Provider


@app.command()
def config(as_json: opt.Json = False) -> int:
    """What holds of the options and where it is set, the providers, and whether their keys are set.

    An option of a command goes over SQLBATCH_… , that over sqlbatch.toml (looked for in this folder and those above it,
    then in ~/.config), that over what holds otherwise.

    Example: sqlbatch config
    """
    options = [_option(name) for name in read.OPTIONS]
    providers = [_provider(_reached(provider)) for provider in known().values()]
    prices = [{"model": each.name, **each.values, "from": each.where} for each in read.entries("prices")]
    files = [str(file.path) for file in read.files()]
    if as_json:
        display.print_json({"files": files, "options": options, "providers": providers, "prices": prices})
        return display.Exit.DONE
    display.show_config(files, options, providers, prices)
    if not files:
        display.say(f"no file yet: {read.FILE} here or {read.shown(read.own_file())} is read")
    return display.Exit.DONE


def _option(name: str) -> dict[str, object]:
    option, held = read.OPTIONS[name], read.lookup(name)
    value = held.value if held is not None else option.default
    return {"option": name, "value": value, "from": held.origin if held is not None else "default", "is": option.what}


def _reached(provider: Provider) -> Provider:
    """Return a provider as it is reached: some have their address in a variable of their own."""
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
