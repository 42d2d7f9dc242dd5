"""The settings that `sqlbatch.toml` and SQLBATCH_* may have: names, types and defaults. `config` reads them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """An option that SQLBATCH_* may set, and also a file unless `in_files` is false: its type and its default.

    A path (`is_path`) in a file is relative to that file. A number that is `counted` must be above 0.
    """

    kind: type
    what: str
    default: str
    in_files: bool = True
    is_path: bool = False
    counted: bool = False


# An option named here is configurable: `configured(name)` finds it.
OPTIONS: dict[str, Option] = {
    "db": Option(str, "the DuckDB file", "enriched.duckdb", is_path=True),
    "provider": Option(str, "the provider", "openai"),
    "base_url": Option(str, "another address of the provider", "the provider's", in_files=False),
    "model": Option(str, "the model", "none: each enrich names it"),
    "endpoint": Option(str, "the endpoint", "/v1/chat/completions"),
    "structured": Option(str, "how JSON is requested: json_schema, json_object or prompt", "json_schema"),
    "max_attempts": Option(int, "the most times a request is sent", "3", counted=True),
    "max_cost": Option(float, "the most a job may cost, in dollars", "none", counted=True),
    "max_enqueued_tokens": Option(
        int, "the most tokens of one model that may be queued at the provider", "the provider's", in_files=False
    ),
    "poll": Option(float, "seconds between status checks", "short, growing to 60", counted=True),
    "attach": Option(list, "other databases a query may read, as ['crm.duckdb', 'sales.db AS sales']", "none"),
    "threads": Option(int, "threads DuckDB uses", "one per core", counted=True),
    "memory_limit": Option(str, "memory DuckDB may use, such as 800MB; beyond it, the disk", "800MB"),
    "quiet": Option(bool, "print only errors and data", "false"),
    "verbose": Option(bool, "print each SQL statement and HTTP call", "false"),
    "debug": Option(bool, "print the traceback of an error", "false"),
}
# Tables of tables, such as `[providers.NAME]`: the keys of an entry and their types.
TABLES: dict[str, dict[str, type]] = {
    "providers": {
        "base_url": str,
        "key_variable": str,
        "structured": str,
        "cache_options": bool,
        "logprobs": bool,
        "purpose": str,
        "endpoint_prefix": str,
        "line_prefix": str,
        "completion_window": str,
        "upload_path": str,
        "upload_fields": dict,
        "create_query": dict,
        "create_fields": dict,
        "headers": dict,
        "max_requests": int,
        "max_bytes": int,
        "max_enqueued_tokens": int,
        "batches_per_hour": int,
        "batch_factor": float,
        "slowest_poll": float,
        "paid": bool,
    },
    "prices": {"input": float, "cached": float, "cache_write": float, "output": float, "batch_factor": float},
}

# Tables with settings of their own, such as `[budget]`.
SECTIONS: dict[str, dict[str, type]] = {"budget": {"month": float}}
