"""The options that several commands share, each with its help."""

from __future__ import annotations

from typing import Annotated

import typer

QueryArgument = Annotated[
    str,
    typer.Argument(
        metavar="QUERY|FILE|-", help="One SELECT, a .sql file, or - for standard input.", show_default=False
    ),
]
JobArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[JOB]", help="A job's number or its target's name; by default the newest.", show_default=False
    ),
]
Db = Annotated[str | None, typer.Option("--db", metavar="FILE", help="The DuckDB file.  \\[default: enriched.duckdb]")]
Attach = Annotated[
    list[str] | None,
    typer.Option("--attach", metavar="PATH[ AS NAME]", help="Another database the query may read; repeatable."),
]
Into = Annotated[
    str | None, typer.Option("--into", metavar="TABLE", help="The target table.  \\[default: the file's name]")
]
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="COLUMN", help="What the model sees of a row; repeatable.  \\[default: all columns]"
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option("--prompt", metavar="TEXT", help="A template with {{ column }}, instead of --input; or @file."),
]
Instructions = Annotated[
    str | None,
    typer.Option("--instructions", metavar="TEXT", help="What the model shall do: the system message; or @file."),
]
Returns = Annotated[
    str | None,
    typer.Option(
        "--returns", metavar="COLUMNS", help="'genres VARCHAR[], year INTEGER', or JSON.  \\[default: one text]"
    ),
]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="The model, for example gpt-6-luna.")]
Param = Annotated[
    list[str] | None, typer.Option("--param", metavar="K=V", help="A parameter of the model call; repeatable.")
]
Endpoint = Annotated[str | None, typer.Option("--endpoint", metavar="PATH", help="\\[default: /v1/chat/completions]")]
ProviderName = Annotated[
    str | None,
    typer.Option("--provider", metavar="NAME", help="openai or local (no key, no cost).  \\[default: openai]"),
]
BaseUrl = Annotated[str | None, typer.Option("--base-url", metavar="URL", help="Another server of the same API.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="Only the query's first N rows.")]
MaxAttempts = Annotated[
    int | None,
    typer.Option("--max-attempts", metavar="N", help="How often a request is sent, at most.  \\[default: 3]"),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ask again what was answered before.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Replace a table that sqlbatch did not make, or shrink the target.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before money is spent.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Submit and return; sync or wait goes on later.")]
Poll = Annotated[
    float | None,
    typer.Option(
        "--poll", metavar="SECONDS", min=0.05, help="The pause between looks.  \\[default: short, growing to 60]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a script.")]
