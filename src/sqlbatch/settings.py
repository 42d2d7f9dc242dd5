"""What holds of the options: the command line, then a `.sql` file's own, SQLBATCH_*, sqlbatch.toml, the defaults."""

from __future__ import annotations

import os
import sys
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlbatch import clock
from sqlbatch.answering.providers import Provider, find_provider
from sqlbatch.errors import InvalidPrompt, InvalidQuery, InvalidSettings, InvalidTarget
from sqlbatch.query.enrichment import CHAT, Enrichment, parameters, parse_param, read_front_matter
from sqlbatch.query.returns import parse_returns
from sqlbatch.store.database import Database
from sqlbatch.store.queries import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONFIG_FILE = "sqlbatch.toml"
DEFAULT_DB = "enriched.duckdb"
# Options that the environment and sqlbatch.toml may set, and how a text becomes their value.
CONFIGURABLE: dict[str, type] = {
    "db": str, "provider": str, "base_url": str, "model": str, "endpoint": str, "max_attempts": int, "poll": float,
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A query, the options of its file, and the file's stem, which names the target by default."""

    query: str
    options: Mapping[str, Any]
    stem: str | None


@dataclass(frozen=True)
class Ask:
    """All that one enrich, or plan, was asked for."""

    enrichment: Enrichment
    provider: Provider
    into: str | None
    max_attempts: int


def read_source(argument: str) -> Source:
    """Return the query of QUERY|FILE|-; raise InvalidQuery for a file that cannot be read."""
    if argument == "-":
        try:
            text = sys.stdin.read().removeprefix("\ufeff")
        except UnicodeDecodeError:
            raise InvalidQuery("what came on standard input is not a text in UTF-8") from None
        _check_text(text, "what came on standard input")
        return Source(text, read_front_matter(text, "the query"), None)
    _check_text(argument, "the query")
    path = Path(argument)
    looks_like_file = argument.casefold().endswith(".sql") and "\n" not in argument
    if not looks_like_file:
        return Source(argument, read_front_matter(argument, "the query"), None)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidQuery(f"{argument} is not a text in UTF-8: save it as UTF-8") from None
    except OSError as error:
        raise InvalidQuery(f"{argument} cannot be read: {error.strerror}") from None
    return Source(text, read_front_matter(text, argument), path.stem)


def _check_text(text: str, what: str) -> None:
    """Raise InvalidSettings for a text that no database could hold: bytes that are not UTF-8, half characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidSettings(f"{what} is not a text in UTF-8") from None


def read_text_option(value: str | None, name: str) -> str | None:
    """Return a text option, read from a file where it is `@file`; `@@` is an @ that begins the text itself."""
    if value is None or not value.startswith("@"):
        return value
    if value.startswith("@@"):
        return value[1:]
    try:
        return Path(value[1:]).read_text(encoding="utf-8-sig").rstrip("\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text in UTF-8"
        if not isinstance(error, OSError | UnicodeDecodeError):
            reason = "no file has such a name"
        raise InvalidSettings(f"{name} {value}: the file cannot be read: {reason} (a text begins with @@)") from None


def configured(name: str) -> Any:
    """Return an option from SQLBATCH_* or sqlbatch.toml, or None; raise InvalidSettings for a wrong value."""
    variable = f"SQLBATCH_{name.upper()}"
    kind = CONFIGURABLE[name]
    text = os.environ.get(variable)
    if text:
        try:
            return kind(text)
        except ValueError:
            raise InvalidSettings(f"{variable}={text}: it must be a number") from None
    value = _config_file().get(name)
    right = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
    if value is not None and not right:
        raise InvalidSettings(f"{CONFIG_FILE}: {name} must be {'a text' if kind is str else 'a number'}")
    return value


def poll(given: float | None) -> float | None:
    """Return the pause between two looks, in seconds; None where nothing fixes it."""
    seconds = given if given is not None else configured("poll")
    if seconds is not None and not 0 < seconds < float("inf"):
        raise InvalidSettings(f"--poll {seconds:g}: it must be a number of seconds above 0")
    return seconds


def database(
    db: str | None, attach: Sequence[str] = (), memory_limit: str | None = None, threads: int | None = None
) -> Database:
    """Return the database that `--db` names; `attach` are databases to read besides, as `path` or `path AS name`."""
    # A clock that cannot run is told before anything is made.
    clock.speed()
    if db is not None and not db.strip():
        raise InvalidSettings("--db is empty: name a file, or leave the option out")
    path = Path(db or configured("db") or DEFAULT_DB)
    if str(path) == ":memory:":
        raise InvalidSettings("--db :memory: would forget everything at once: name a file")
    if path.is_dir():
        raise InvalidSettings(f"--db {path} is a folder: name a file in it, for example {path / DEFAULT_DB}")
    if not path.parent.is_dir():
        raise InvalidSettings(f"--db {path}: the folder {path.parent} does not exist: make it first")
    more: dict[str, Any] = {"memory_limit": memory_limit} if memory_limit else {}
    spool = path.with_name(path.name + ".sqlbatch") / "spool"
    return Database(path, attach=tuple(_attach_clause(each) for each in attach), threads=threads, spool=spool, **more)


def ask(source: Source, given: Mapping[str, Any]) -> Ask:
    """Return what was asked for: `given` are the command line's options (None: not given), over the file's.

    Raises InvalidEnrichment where an option is wrong, or none says which model.
    """

    def option(name: str, default: Any = None) -> Any:
        for value in (given.get(name), source.options.get(name), configured(name) if name in CONFIGURABLE else None):
            if value is not None and value != []:
                return value
        return default

    provider = find_provider(
        option("provider", "openai"), option("base_url") or _sdk_base_url(option("provider", "openai"))
    )
    limit, attempts = option("limit"), option("max_attempts", 3)
    if limit is not None and limit < 1:
        raise InvalidSettings(f"--limit {limit}: it must be 1 or more")
    if attempts < 1:
        raise InvalidSettings(f"--max-attempts {attempts}: it must be 1 or more")
    values = dict(source.options.get("param", {}))
    for text in given.get("param") or []:
        name, value = parse_param(text)
        values[name] = value
    for name in values:
        parse_param(f"{name}=")
    prompt = read_text_option(option("prompt"), "--prompt")
    if prompt is not None and not prompt.strip():
        raise InvalidPrompt("--prompt is empty: write a template with {{ column }}")
    instructions = read_text_option(option("instructions"), "--instructions")
    if instructions is not None and not instructions.strip():
        raise InvalidPrompt("--instructions is empty: say what the model shall do")
    if option("into") is not None and not option("into").strip():
        raise InvalidTarget("--into is empty: give the target table a name")
    for name in ("into", "returns", "prompt", "instructions", "model", "input"):
        _check_text(str(option(name, "")), f"--{name}")
    enrichment = Enrichment(
        query=source.query,
        returns=parse_returns(read_text_option(option("returns"), "--returns")).text,
        prompt=prompt,
        instructions=instructions,
        inputs=tuple(option("input", ())),
        endpoint=option("endpoint", CHAT),
        model=_model(provider, given.get("model"), option("model")),
        params=parameters(values),
        provider=provider.name,
        base_url=provider.base_url,
        limit=limit,
    )
    return Ask(enrichment, provider, option("into") or source.stem, attempts)


def _model(provider: Provider, given: str | None, model: str | None) -> str:
    if provider.name == "local":
        # A file's or the configuration's model is meant for where it costs money.
        if given not in {None, "offline"}:
            raise InvalidSettings(f"--model {given}: the local provider has one model, offline; leave --model out")
        return "offline"
    if not model:
        raise InvalidSettings(
            "no model: name one with --model, for example --model gpt-6-luna; or try it for nothing with "
            "--provider local"
        )
    return model


def _sdk_base_url(provider: str) -> str | None:
    return os.environ.get("OPENAI_BASE_URL") or None if provider == "openai" else None


def _config_file() -> dict[str, Any]:
    path = Path(CONFIG_FILE)
    try:
        options = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings(f"{path} is not TOML: {error}") from None
    for name in options:
        if name not in CONFIGURABLE:
            near = get_close_matches(name, CONFIGURABLE, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(CONFIGURABLE)}"
            raise InvalidSettings(f"{path}: unknown option {name}; {hint}")
    return options


def _attach_clause(text: str) -> str:
    path, separator, name = text.rpartition(" AS ") if " AS " in text else text.rpartition(" as ")
    if not separator:
        path, name = text, Path(text.rpartition(":")[2] or text).stem
    return f"ATTACH {quote_literal(path.strip())} AS {quote_identifier(name.strip())} (READ_ONLY)"
