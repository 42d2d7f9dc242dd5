"""Services with the OpenAI Files and Batches API: providers.toml, and the user's own `[providers.NAME]`."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sqlbatch import config
from sqlbatch.batch_limits import MAX_REQUESTS
from sqlbatch.errors import InvalidOption, InvalidSettings, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

# Codes that mean: no money or no permission, now and on the next try (contract, section 7, number 26).
BLOCKING_CODES = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated", "invalid_api_key"}
)
# Headers that the SDK sets itself, or that would put a key into a file.
_OWN_HEADERS = frozenset({"authorization", "api-key", "x-api-key", "content-type", "content-length", "host"})
# The start of an endpoint's name in an enrichment, whatever the provider calls it.
_PREFIX = "/v1"
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Provider:
    """A provider: its address, what it accepts, and for how long its silence means nothing.

    `max_requests` and `max_bytes` limit one input file, `max_enqueued_tokens` the tokens queued at a time (None:
    unknown), `batches_per_hour` the batches created. `batch_factor` is the fraction of the ordinary price that a batch
    costs (None: unknown). `endpoint_prefix` is the provider's spelling of `/v1` in an endpoint, `line_prefix` its
    spelling in the lines of a file. `completion_window` is sent with a create, and `create_query` and `create_fields`
    are added to it; `upload_path` and `upload_fields` do the same for an upload, with `{name}` for the file's name.
    `cache_options`: it accepts the parameter prompt_cache_options. `logprobs`: its replies can contain the log
    probabilities of tokens as OpenAI's do. `headers` are sent with every request. Graces are in seconds: how long a
    batch may still appear in the list after a create without a reply, or after one with an error reply. Polls are the
    seconds between status checks, at first and at most.
    """

    name: str
    base_url: str
    key_variable: str | None = None
    base_url_variable: str | None = None
    base_url_path: str = ""
    address: str = ""
    paid: bool = True
    purpose: str = "batch"
    endpoint_prefix: str = _PREFIX
    line_prefix: str | None = None
    completion_window: str = "24h"
    upload_path: str = "/files"
    upload_fields: Mapping[str, str] = field(default_factory=dict)
    create_query: Mapping[str, str] = field(default_factory=dict)
    create_fields: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    max_requests: int = MAX_REQUESTS
    max_bytes: int = 200_000_000
    max_enqueued_tokens: int | None = None
    batches_per_hour: int | None = None
    batch_factor: float | None = None
    structured: str | None = None
    cache_options: bool = False
    logprobs: bool = True
    silence_grace: float = 900.0
    error_grace: float = 60.0
    first_poll: float = 2.0
    slowest_poll: float = 60.0
    # The place of its definition, in words; None for a provider that comes with sqlbatch.
    defined: str | None = None

    def endpoint(self, endpoint: str) -> str:
        """Return the provider's spelling of an endpoint in a create."""
        return self.endpoint_prefix + endpoint.removeprefix(_PREFIX)

    @property
    def embedded(self) -> bool:
        """Whether its server runs in this process, and so works only while this process does."""
        return self.name == "local"

    @property
    def window(self) -> float | None:
        """The seconds in which a batch ends one way or another; None if the window is not in hours or days."""
        found = re.fullmatch(r"(\d+)([hd])", self.completion_window)
        return None if found is None else int(found[1]) * (3_600.0 if found[2] == "h" else 86_400.0)

    def line_url(self, endpoint: str) -> str:
        """Return the provider's spelling of an endpoint in the lines of an input file."""
        prefix = self.endpoint_prefix if self.line_prefix is None else self.line_prefix
        return prefix + endpoint.removeprefix(_PREFIX)


def _built_in() -> dict[str, Provider]:
    text = resources.files("sqlbatch.batches").joinpath("providers.toml").read_text(encoding="utf-8")
    return {name: Provider(name, **values) for name, values in tomllib.loads(text).items()}


KNOWN = _built_in()


def known() -> dict[str, Provider]:
    """Return all providers by name: those that come with sqlbatch, overridden by sqlbatch.toml.

    Raises InvalidSettings for a wrong definition, or a file's `provider` that does not exist.
    """
    found = dict(KNOWN)
    for entry in config.entries("providers"):
        found[entry.name] = _defined(entry, found.get(entry.name))
    for file in config.files():
        name = file.values.get("provider")
        if name is not None and name not in found:
            where = file.where((), "provider")
            raise InvalidSettings(f"{where}: provider {name}: unknown; {did_you_mean(name, sorted(found))}")
    return found


def find_provider(name: str, base_url: str | None = None) -> Provider:
    """Return the provider of a name, at another base URL if given, with the token limit that SQLBATCH_* sets.

    Raises InvalidSettings for an unknown name or a wrong URL.
    """
    provider = _found(name, base_url)
    held = config.lookup("max_enqueued_tokens")
    if held is None:
        return provider
    if held.value < 1:
        raise InvalidOption(f"{held.origin} {held.value}: it must be 1 or more")
    return replace(provider, max_enqueued_tokens=held.value)


def _found(name: str, base_url: str | None) -> Provider:
    providers = known()
    if name not in providers:
        held = config.lookup("provider")
        option = f"{held.origin}={name}" if held is not None and held.value == name else f"--provider {name}"
        raise InvalidOption(f"{option}: unknown; {did_you_mean(name, sorted(providers))}")
    provider = providers[name]
    if base_url is None:
        base_url = _from_variable(provider)
    if base_url is None and not provider.base_url:
        variable = f", or set {provider.base_url_variable}" if provider.base_url_variable else ""
        raise InvalidSettings(f"{name} needs an address: --base-url {provider.address}{variable}")
    if base_url is None or base_url == provider.base_url:
        return provider
    if name == "local":
        raise InvalidOption("--base-url cannot be combined with --provider local, which runs its own server")
    return replace(provider, base_url=canonical(base_url), cache_options=False)


def label(name: str, base_url: str) -> str:
    """Return the name of a provider for messages: its own, or the host of another address."""
    built_in = KNOWN.get(name)
    return name if built_in is not None and built_in.base_url == base_url else urlsplit(base_url).netloc or name


def canonical(base_url: str, option: str = "--base-url") -> str:
    """Return a base URL in the one form that ids are made from; raise InvalidSettings if it is not a URL."""
    try:
        parts = urlsplit(base_url.strip())
    except ValueError as error:
        raise InvalidSettings(f"{option} {base_url}: it is not a URL ({error})") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidSettings(f"{option} {base_url}: write it with its scheme, for example http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise InvalidSettings(f"{option} must not carry a user or password: keys belong in the key variable")
    return parts._replace(scheme=parts.scheme.lower(), netloc=parts.netloc.lower(), fragment="").geturl().rstrip("/")


def is_here(base_url: str) -> bool:
    """Whether an address is on this machine."""
    return urlsplit(base_url).hostname in _HERE


def _from_variable(provider: Provider) -> str | None:
    """Return the address in the provider's own variable, unless sqlbatch.toml has one."""
    variable = provider.base_url_variable if provider.base_url == KNOWN.get(provider.name, provider).base_url else None
    address = os.environ.get(variable, "").strip() if variable else ""
    if address and not urlsplit(address).path.strip("/"):
        address = address.rstrip("/") + provider.base_url_path
    return address or None


def _check_tables(name: str, where: str, values: Mapping[str, Any]) -> None:
    """Check the keys of a provider that are tables of their own, and the path of an upload."""
    for key in ("headers", "upload_fields", "create_query"):
        for each, value in values.get(key, {}).items():
            if not isinstance(value, str) or not value.isprintable():
                raise InvalidSettings(f"{where}: {each} in {key} of [providers.{name}] must be a text on one line")
    for each in values.get("headers", {}):
        if each.lower() in _OWN_HEADERS or not re.fullmatch(r"[A-Za-z0-9-]+", each):
            reason = "the key comes from key_variable" if each.lower() in _OWN_HEADERS else "use letters, digits and -"
            raise InvalidSettings(f"{where}: [providers.{name}] cannot set the header {each}: {reason}")
    taken = {"input_file_id", "endpoint", "completion_window", "metadata"} & values.get("create_fields", {}).keys()
    taken |= {"file", "purpose"} & values.get("upload_fields", {}).keys()
    if taken:
        raise InvalidSettings(f"{where}: [providers.{name}] cannot set {min(taken)}: sqlbatch sets it itself")
    path = values.get("upload_path", "/")
    if not re.fullmatch(r"/[\w/.-]*", path) or ".." in path:
        raise InvalidSettings(f'{where}: upload_path of [providers.{name}] must be a path such as "/files/upload"')


def _defined(entry: config.Entry, before: Provider | None) -> Provider:
    """Return the provider that an entry defines or changes."""
    name, where, values = entry.name, entry.where, dict(entry.values)
    if name == "local" or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        reason = "the local provider is sqlbatch's own" if name == "local" else "use letters, digits, - and _"
        raise InvalidSettings(f"{where}: {name} cannot be the name of a provider: {reason}")
    if before is None and not values.get("base_url"):
        raise InvalidSettings(f'{where}: [providers.{name}] has no base_url; add base_url = "https://…/v1"')
    _check_tables(name, where, values)
    if "base_url" in values:
        values["base_url"] = canonical(values["base_url"], f"{where}: base_url")
        if entry.shared and "key_variable" not in values:
            # The key for the provider's own address must not follow it to another address.
            if not is_here(values["base_url"]):
                raise InvalidSettings(
                    f"{where}: [providers.{name}] sends to {urlsplit(values['base_url']).netloc}: say which key it may "
                    f'have, for example key_variable = "{name.upper().replace("-", "_")}_API_KEY", or "" for none'
                )
            values["key_variable"] = ""
    variable = values.get("key_variable")
    if variable and (not variable.isidentifier() or (entry.shared and not variable.endswith("_API_KEY"))):
        rule = ""
        if variable.isidentifier():
            own = config.shown(config.own_file())
            rule = f": a project's file names one that ends in _API_KEY, only {own} may name any other"
        raise InvalidSettings(f"{where}: key_variable {variable} cannot be the variable of a key{rule}")
    if variable == "":
        values["key_variable"] = None
    values["defined"] = where
    return replace(before, **values) if before is not None else Provider(name, **values)
