"""Services that speak the OpenAI Files and Batches API, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from sqlbatch.errors import InvalidSettings

OPENAI_URL = "https://api.openai.com/v1"


@dataclass(frozen=True)
class Provider:
    """A provider: where it is, what it takes, how long its silence means nothing.

    `max_requests` and `max_bytes` bound one input file: 50,000 lines and 200 MB as OpenAI's Batch guide gives them; the
    observed limit is 209,715,200 bytes, and staying under 200,000,000 keeps both readings. Graces are in seconds: how
    long a batch may still appear in the list after a create without a reply, or after one with an error reply.
    """

    name: str
    base_url: str
    key_variable: str | None
    paid: bool = True
    max_requests: int = 50_000
    max_bytes: int = 200_000_000
    silence_grace: float = 900.0
    error_grace: float = 60.0
    # Seconds at most between two looks at an open batch.
    slowest_poll: float = 60.0


KNOWN = {
    "openai": Provider("openai", OPENAI_URL, "OPENAI_API_KEY"),
    # The embedded server has answered or is gone: its silence lasts no longer than a connection on loopback.
    "local": Provider("local", "local", None, paid=False, silence_grace=2.0, error_grace=1.0, slowest_poll=1.0),
}


def find_provider(name: str, base_url: str | None = None) -> Provider:
    """Return the provider of a name, at another base URL where one is given; raise InvalidSettings for a wrong one."""
    try:
        provider = KNOWN[name]
    except KeyError:
        raise InvalidSettings(f"--provider {name}: unknown; known are {', '.join(sorted(KNOWN))}") from None
    if base_url is None:
        return provider
    if provider.name == "local":
        raise InvalidSettings("--base-url does not go with --provider local, which finds its own server")
    return replace(provider, base_url=canonical(base_url))


def label(name: str, base_url: str) -> str:
    """Return what to call a provider: its name, or the host it is reached at where that is another's."""
    known = KNOWN.get(name)
    return name if known is not None and known.base_url == base_url else urlsplit(base_url).netloc or name


def canonical(base_url: str) -> str:
    """Return a base URL in the one form that ids are made from; raise InvalidSettings where it is none."""
    try:
        parts = urlsplit(base_url.strip())
    except ValueError as error:
        raise InvalidSettings(f"--base-url {base_url}: it is not a URL ({error})") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidSettings(f"--base-url {base_url}: write it with its scheme, for example http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise InvalidSettings("--base-url must not carry a user or password: keys belong in the key variable")
    return parts._replace(scheme=parts.scheme.lower(), netloc=parts.netloc.lower(), fragment="").geturl().rstrip("/")
