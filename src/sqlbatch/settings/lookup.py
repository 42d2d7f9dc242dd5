"""One option's value: what was given, or what the environment and the files say."""

from __future__ import annotations

from typing import Any

from sqlbatch import configuration
from sqlbatch.errors import InvalidOption


def configured(name: str, given: Any = None) -> Any:
    """Return what was given of an option, or else what SQLBATCH_* or sqlbatch.toml says; None where none does.

    The option is one of `configuration.OPTIONS`. Raises InvalidSettings for a wrong value.
    """
    if given is not None:
        return given
    held = configuration.held(name)
    return held.value if held is not None else None


def named(name: str, given: Any = None) -> str:
    """Return how a message calls an option's value: by the option where it was given, else by where it stands."""
    held = configuration.held(name) if given is None else None
    if held is None:
        return f"--{name.replace('_', '-')}"
    return held.origin if held.origin.startswith("SQLBATCH_") else f"{held.origin}: {name}"


def max_cost(given: float | None) -> float | None:
    """Return the dollars that a job may cost at most; None where nothing says so."""
    dollars = configured("max_cost", given)
    if dollars is not None and not 0 < dollars < float("inf"):
        raise InvalidOption(f"{named('max_cost', given)} {dollars:g}: it must be a number of dollars above 0")
    return float(dollars) if dollars is not None else None


def max_enqueued_tokens(given: int | None) -> int | None:
    """Return the most tokens of a model that were said to wait at the provider; None where the provider's limit holds.

    What SQLBATCH_MAX_ENQUEUED_TOKENS says is the provider's own by then (`sqlbatch.batches.providers`).
    """
    if given is not None and given < 1:
        raise InvalidOption(f"--max-enqueued-tokens {given}: it must be 1 or more")
    return given


def poll(given: float | None) -> float | None:
    """Return the pause between two looks, in seconds; None where nothing fixes it."""
    seconds = configured("poll", given)
    if seconds is not None and not 0 < seconds < float("inf"):
        raise InvalidOption(f"{named('poll', given)} {seconds:g}: it must be a number of seconds above 0")
    return float(seconds) if seconds is not None else None
