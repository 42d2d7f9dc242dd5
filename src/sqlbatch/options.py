"""The options of one enrich, plan or preview, merged from every place that may set them.

In order: the command line or Python, the first comment of a `.sql` file, SQLBATCH_*, sqlbatch.toml, the defaults.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlbatch import clock, connection
from sqlbatch.batch_limits import OFFLINE_ENDPOINTS
from sqlbatch.batches.providers import Provider, find_provider
from sqlbatch.config import configured, lookup, named
from sqlbatch.db.attached import Attached
from sqlbatch.db.database import Database
from sqlbatch.errors import (
    InvalidOption,
    InvalidPrompt,
    InvalidSettings,
    InvalidTarget,
    did_you_mean,
)
from sqlbatch.query import confidence
from sqlbatch.query.endpoints import check_params, endpoint_of, find_endpoint, returns_of
from sqlbatch.query.enrichment import CHAT, Enrichment, parameters, parse_param
from sqlbatch.query.pictures import check_detail
from sqlbatch.query.select import with_where
from sqlbatch.returns import Structured
from sqlbatch.settings import OPTIONS
from sqlbatch.source import Source, check_text, read_json_schema, read_text_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


# The ways to plan a query that calls AI functions.
POLICIES = ("balanced", "lean", "fuse")
# The tiers in which a preview may be processed and billed.
TIERS = ("default", "flex")


@dataclass(frozen=True)
class EnrichOptions:
    """The merged options of one enrich or plan."""

    enrichment: Enrichment
    provider: Provider
    into: str | None
    max_attempts: int
    notes: tuple[str, ...] = ()


def enrich_options(source: Source, given: Mapping[str, Any]) -> EnrichOptions:
    """Return the merged options; `given` are those of the command line or Python (None: not given) and come first.

    Raises InvalidEnrichment if an option is wrong or no model is named.
    """

    def option(name: str, default: Any = None) -> Any:
        for value in (
            given.get(name),
            source.options.get(name),
            configured(name) if OPTIONS[name].configurable else None,
        ):
            if value is not None and value != []:
                return value
        return default

    name = option("provider", "openai")
    # An address in the environment is not used for the free local provider.
    base_url = given.get("base_url") if name == "local" else option("base_url")
    provider = find_provider(name, base_url)
    connection.trust(provider)
    limit, attempts = option("limit"), option("max_attempts", 3)
    if limit is not None and limit < 1:
        raise InvalidOption(f"--limit {limit}: it must be 1 or more")
    if attempts < 1:
        given_attempts = given.get("max_attempts") or source.options.get("max_attempts")
        attempts_named = named("max_attempts", given_attempts)
        raise InvalidOption(f"{attempts_named} {attempts}: it must be 1 or more")
    values = dict(source.options.get("param", {}))
    for text in given.get("param") or []:
        name, value = parse_param(text)
        values[name] = value
    for name in values:
        parse_param(f"{name}=")

    def text_of(name: str) -> str | None:
        # A .sql file names databases relative to itself, the command line relative to the working directory.
        folder = source.folder if given.get(name) is None and source.options.get(name) is not None else None
        return read_text_option(option(name), f"--{name}", folder)

    prompt = text_of("prompt")
    if prompt is not None and not prompt.strip():
        raise InvalidPrompt("--prompt is empty: write a template with {{ column }}")
    instructions = text_of("instructions")
    if instructions is not None and not instructions.strip():
        raise InvalidPrompt("--instructions is empty: say what the model should do")
    if option("into") is not None and not option("into").strip():
        raise InvalidTarget("--into is empty: give the target table a name")
    for name in ("into", "returns", "json_schema", "prompt", "instructions", "model", "input", "image", "where"):
        check_text(str(option(name, "")), f"--{name}")
    endpoint = find_endpoint(option("endpoint", CHAT))
    if provider.name == "local" and endpoint not in OFFLINE_ENDPOINTS:
        raise InvalidSettings(
            f"--endpoint {endpoint.removeprefix('/v1/')}: the offline model answers chat/completions, responses and "
            "embeddings only; ask a provider that has it"
        )
    model = _model(provider, given.get("model"), option("model"))
    check_params(endpoint, model, values)
    policy = given.get("policy") or next((name for name in ("lean", "fuse") if given.get(name)), None)
    policy = policy or source.options.get("policy")
    if given.get("lean") and given.get("fuse"):
        raise InvalidOption("--lean and --fuse both choose how a query is planned: give one of them")
    if policy is not None and policy not in POLICIES:
        raise InvalidOption(f"policy {policy}: {did_you_mean(str(policy), POLICIES)}")
    query, notes = _translated(source.query, option("dialect"))
    incremental, unique_key, where = _incremental(source, given)
    detail, images = option("image_detail"), tuple(option("image", ()))
    if detail is not None and not _shows(images, query):
        raise InvalidSettings("--image-detail needs pictures: name their column with --image")
    check_detail(endpoint, detail)
    structured = _structured(provider, source, given)
    confident = bool(given.get("confidence") or source.options.get("confidence"))
    logprobs, told = confidence.check(endpoint, model, values, provider.name, gives=provider.logprobs, wanted=confident)
    enrichment = Enrichment(
        query=query if where is None else with_where(query, where),
        returns=returns_of(endpoint, _returns(source, given), model, values, structured).text,
        prompt=prompt,
        instructions=instructions,
        inputs=tuple(option("input", ())),
        endpoint=endpoint,
        model=model,
        params=parameters(values),
        provider=provider.name,
        base_url=provider.base_url,
        limit=limit,
        images=images,
        image_detail=detail,
        folder=str((source.folder or Path()).resolve()) if _shows(images, query) else None,
        policy=policy,
        structured=None if structured is Structured.JSON_SCHEMA else structured.value,
        incremental=incremental,
        unique_key=unique_key,
        where=where,
        confidence=confident,
        logprobs=logprobs,
        dialect=option("dialect"),
    )
    return EnrichOptions(enrichment, provider, option("into") or source.stem, attempts, (*notes, *told))


def _shows(images: tuple[str, ...], query: str) -> bool:
    """Return whether pictures may be sent."""
    return bool(images) or "ai_image" in query.casefold()


def _translated(query: str, dialect: str | None) -> tuple[str, tuple[str, ...]]:
    """Return a query translated to DuckDB's SQL, and notes about it.

    The job keeps the translation, so that it does not change with later versions of sqlglot.
    """
    if dialect is None or dialect.casefold() == "duckdb":
        return query, ()
    # Every command imports this module, and few need sqlglot.
    from sqlbatch.functions.dialects import DIALECTS, translate  # noqa: PLC0415

    if dialect.casefold() not in DIALECTS:
        raise InvalidOption(f"dialect {dialect}: {did_you_mean(dialect, ('duckdb', *DIALECTS))}")
    translated = translate(query, dialect.casefold())
    return translated.sql, (translated.note,) if translated.note else ()


def at_tier(asked: EnrichOptions, tier: str | None) -> EnrichOptions:
    """Return the options with a preview's tier (default or flex); None leaves the tier to the parameters.

    Raises InvalidOption for another tier, or if the endpoint has no flex tier.
    """
    if tier is None:
        return asked
    if tier not in TIERS:
        raise InvalidOption(f"--tier {tier}: {did_you_mean(tier, list(TIERS))}")
    if tier == "flex" and not endpoint_of(asked.enrichment.endpoint).talks:
        raise InvalidOption(f"--tier flex: {asked.enrichment.endpoint} is not served at the flex price; leave it out")
    given = {name: json.loads(value) for name, value in asked.enrichment.params}
    given["service_tier"] = tier
    return replace(asked, enrichment=replace(asked.enrichment, params=parameters(given)))


def _incremental(source: Source, given: Mapping[str, Any]) -> tuple[bool, tuple[str, ...], str | None]:
    """Return whether rows update the target, by which columns, and which of the query's rows do."""
    incremental = bool(given.get("incremental") or source.options.get("incremental"))
    listed = given.get("unique_key") or source.options.get("unique_key") or ()
    key = tuple(name.strip() for each in listed for name in each.split(",") if name.strip())
    if incremental and not key:
        raise InvalidOption(
            "--incremental needs --unique-key COLUMN: the columns by which a row of the target is found"
        )
    if key and not incremental:
        raise InvalidOption(f"--unique-key {','.join(key)} goes with --incremental: add it, or leave the key out")
    where = given.get("where") or source.options.get("where")
    if where is not None and not where.strip():
        raise InvalidOption("--where is empty: write a condition, or leave the option out")
    return incremental, key, where


def _structured(provider: Provider, source: Source, given: Mapping[str, Any]) -> Structured:
    """Return how the model is made to return JSON.

    A provider's own setting comes before the general one in sqlbatch.toml.
    """
    option, setting = given.get("structured") or source.options.get("structured"), lookup("structured")
    if option is None and setting is not None and setting.origin.startswith("SQLBATCH_"):
        option = setting.value
    for value, where in (
        (option, named("structured", given.get("structured"))),
        (provider.structured, f"{provider.defined or provider.name}: structured"),
        (setting and setting.value, named("structured")),
    ):
        if value is not None and value not in list(Structured):
            raise InvalidOption(f"{where} {value}: {did_you_mean(str(value), Structured)}")
        if value is not None:
            return Structured(value)
    return Structured.JSON_SCHEMA


def _returns(source: Source, given: Mapping[str, Any]) -> str | None:
    """Return the returned columns.

    A column list, those of a JSON Schema, or a list whose JSON columns a schema details.
    """
    # Either option on the command line replaces both of the file's.
    said = {name: given.get(name) for name in ("returns", "json_schema")}
    folder = None
    if all(value is None for value in said.values()):
        said = {name: source.options.get(name) for name in said}
        folder = source.folder
    columns = read_text_option(said["returns"], "--returns", folder)
    if said["json_schema"] is not None:
        return read_json_schema(said["json_schema"], folder, columns).text
    return columns


def _model(provider: Provider, given: str | None, model: str | None) -> str:
    if provider.name == "local":
        # A model named in a file or the configuration is not used for the free local provider.
        if given not in {None, "offline"}:
            raise InvalidSettings(f"--model {given}: the local provider has one model, offline; leave --model out")
        return "offline"
    if not model:
        raise InvalidSettings(
            "no model: name one with --model, for example --model gpt-6-luna; or try it at no cost with "
            "--provider local"
        )
    return model


DEFAULT_DB = "enriched.duckdb"
_SIZE = re.compile(r"\s*\d*[1-9]\d*(\.\d+)?\s*[KMGT]i?B\s*", re.IGNORECASE)


def database(
    db: str | None,
    attach: Sequence[str] | None = None,
    memory_limit: str | None = None,
    threads: int | None = None,
    source: Source | None = None,
) -> Database:
    """Return the database that `--db` names; `attach` are other databases, each as `path` or `path AS name`.

    If none is given, those of the source's first comment, of SQLBATCH_ATTACH or of sqlbatch.toml are attached.
    """
    # Report an unusable clock before anything is created.
    clock.speed()
    if db is not None and not db.strip():
        raise InvalidSettings("--db is empty: name a file, or leave the option out")
    path = Path(configured("db", db) or DEFAULT_DB)
    if str(path) == ":memory:":
        raise InvalidSettings("--db :memory: would forget everything at once: name a file")
    if path.is_dir():
        raise InvalidSettings(f"--db {path} is a folder: name a file in it, for example {path / DEFAULT_DB}")
    if not path.parent.is_dir():
        raise InvalidSettings(f"--db {path}: the folder {path.parent} does not exist: make it first")
    told = {name: named(name, given) for name, given in (("threads", threads), ("memory_limit", memory_limit))}
    threads, memory_limit = configured("threads", threads), configured("memory_limit", memory_limit)
    if threads is not None and threads < 1:
        raise InvalidOption(f"{told['threads']} {threads}: it must be 1 or more")
    if memory_limit is not None and not _SIZE.fullmatch(memory_limit):
        raise InvalidOption(f"{told['memory_limit']} {memory_limit}: write a size with its unit, as 800MB or 2GB")
    more: dict[str, Any] = {"memory_limit": memory_limit} if memory_limit else {}
    spool = path.with_name(path.name + ".sqlbatch") / "spool"
    return Database(path, attach=attached(attach, source), threads=threads, spool=spool, **more)


def attached(given: Sequence[str] | None, source: Source | None = None) -> list[Attached]:
    """Return the databases of --attach, or else those of the query's file, or else the configured ones."""
    if given:
        return [Attached.parse(each, "--attach") for each in given]
    if source is not None and source.options.get("attach"):
        return [Attached.parse(each, "attach", source.folder) for each in source.options["attach"]]
    found = lookup("attach")
    # A path in a file is relative to that file.
    return [Attached.parse(each, f"{found.origin}: attach", found.folder) for each in found.value] if found else []
