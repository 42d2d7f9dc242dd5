"""All that one enrich, or plan, is asked for, put together from every place that may say it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlbatch import reach
from sqlbatch.batches.providers import Provider, find_provider
from sqlbatch.configuration import OPTIONS
from sqlbatch.errors import InvalidOption, InvalidPrompt, InvalidReturns, InvalidSettings, InvalidTarget
from sqlbatch.query.enrichment import CHAT, Enrichment, parameters, parse_param
from sqlbatch.query.pictures import check_detail
from sqlbatch.query.request import check_params, find_endpoint, returns_of
from sqlbatch.settings.lookup import configured, named
from sqlbatch.settings.source import Source, check_text, read_json_schema, read_text_option

if TYPE_CHECKING:
    from collections.abc import Mapping

# What the server answers that runs in this process (its own list is in `sqlbatch.server.batches`).
OFFLINE_ENDPOINTS = frozenset({"/v1/chat/completions", "/v1/responses", "/v1/embeddings"})


@dataclass(frozen=True)
class Ask:
    """All that one enrich, or plan, was asked for."""

    enrichment: Enrichment
    provider: Provider
    into: str | None
    max_attempts: int


def ask(source: Source, given: Mapping[str, Any]) -> Ask:
    """Return what was asked for: `given` are the command line's options (None: not given), over the file's.

    Raises InvalidEnrichment where an option is wrong, or none says which model.
    """

    def option(name: str, default: Any = None) -> Any:
        for value in (given.get(name), source.options.get(name), configured(name) if name in OPTIONS else None):
            if value is not None and value != []:
                return value
        return default

    name = option("provider", "openai")
    # An address in the environment is meant for where it costs money.
    base_url = given.get("base_url") if name == "local" else option("base_url")
    provider = find_provider(name, base_url)
    reach.trust(provider)
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
        # A file names others from where it is; what is said here, from here.
        folder = source.folder if given.get(name) is None and source.options.get(name) is not None else None
        return read_text_option(option(name), f"--{name}", folder)

    prompt = text_of("prompt")
    if prompt is not None and not prompt.strip():
        raise InvalidPrompt("--prompt is empty: write a template with {{ column }}")
    instructions = text_of("instructions")
    if instructions is not None and not instructions.strip():
        raise InvalidPrompt("--instructions is empty: say what the model shall do")
    if option("into") is not None and not option("into").strip():
        raise InvalidTarget("--into is empty: give the target table a name")
    for name in ("into", "returns", "json_schema", "prompt", "instructions", "model", "input", "image"):
        check_text(str(option(name, "")), f"--{name}")
    endpoint = find_endpoint(option("endpoint", CHAT))
    if provider.name == "local" and endpoint not in OFFLINE_ENDPOINTS:
        raise InvalidSettings(
            f"--endpoint {endpoint.removeprefix('/v1/')}: the offline model answers chat/completions, responses and "
            "embeddings only; ask a provider that has it"
        )
    model = _model(provider, given.get("model"), option("model"))
    check_params(endpoint, model, values)
    detail = option("image_detail")
    images = tuple(option("image", ()))
    if detail is not None and not images:
        raise InvalidSettings("--image-detail is about pictures: name their column with --image")
    check_detail(endpoint, detail)
    enrichment = Enrichment(
        query=source.query,
        returns=returns_of(endpoint, _returns(source, given), model, values).text,
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
        folder=str((source.folder or Path()).resolve()) if images else None,
    )
    return Ask(enrichment, provider, option("into") or source.stem, attempts)


def _returns(source: Source, given: Mapping[str, Any]) -> str | None:
    """Return the column list that is asked for: as it is, or of a JSON Schema."""
    # What the command line says stands in the place of either in the file.
    said = {name: given.get(name) for name in ("returns", "json_schema")}
    folder = None
    if all(value is None for value in said.values()):
        said = {name: source.options.get(name) for name in said}
        folder = source.folder
    if all(value is not None for value in said.values()):
        raise InvalidReturns("--returns and --json-schema are two ways to say what comes back: give one of them")
    if said["json_schema"] is not None:
        return read_json_schema(said["json_schema"], folder).text
    return read_text_option(said["returns"], "--returns", folder)


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
