"""The commands about money: prices of models, and costs."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sqlbatch import clock, config, display, options
from sqlbatch.batches.providers import find_provider, label
from sqlbatch.cli import complete
from sqlbatch.cli import options as opt
from sqlbatch.cli.app import command
from sqlbatch.cli.follow import existing
from sqlbatch.db import price_library
from sqlbatch.db import prices as known
from sqlbatch.db.prices import HOW_TO_PRICE, in_dollars
from sqlbatch.errors import InvalidSettings

if TYPE_CHECKING:
    from sqlbatch.batches.providers import Provider
    from sqlbatch.db.session import Session


class By(StrEnum):
    """The keys by which costs are added up."""

    DAY = "day"
    JOB = "job"
    TARGET = "target"
    MODEL = "model"
    MONTH = "month"


RATES = ("input", "cached", "cache_write", "output")


@command
def prices(
    model: Annotated[
        str | None, opt.argument("[MODEL]", "One model, in all its tiers.", autocompletion=complete.models)
    ] = None,
    provider: Annotated[
        str | None,
        opt.option(
            "--provider",
            "NAME",
            "The provider whose prices to list.",
            default="openai",
            autocompletion=complete.providers,
        ),
    ] = None,
    db: opt.Db = None,
    as_json: opt.Json = False,
) -> int:
    """List what models cost in batches, in dollars per million tokens; of one model, in each tier.

    Your own prices (sqlbatch.toml, the table sqlbatch.prices) override those of the price library.

    Example: sqlbatch prices gpt-6-luna
    """
    who = find_provider(config.configured("provider", provider) or "openai")
    database = options.database(db)
    with database.session(migrate=False) as session:
        if model is not None:
            found = [row for tier in price_library.TIERS for row in _rows(session, who, model, tier)]
        else:
            named = {*price_library.models(who.base_url), *known.named_models(session, who.base_url)}
            found = [row for each in sorted(named) for row in _rows(session, who, each, "batch")[:1]]
    if model is not None and not found:
        near = price_library.alike(who.base_url, model)
        hint = f"did you mean {near}?" if near else HOW_TO_PRICE
        raise InvalidSettings(f"no price is known for {model} at {label(who.name, who.base_url)}: {hint}")
    if as_json:
        display.print_json(found)
        return display.Exit.DONE
    if not found:
        display.info(f"no price is known at {label(who.name, who.base_url)}: {HOW_TO_PRICE}")
        return display.Exit.DONE
    shown = [_shown(row) for row in found]
    columns = ("model", "tier", "input", "cached", "cache write", "output", "since", "source")
    display.tables.show_table(columns, shown, right=set(columns[2:6]), spare=("source", "since"))
    return display.Exit.DONE


def _shown(row: dict[str, Any]) -> list[str]:
    tier = row["tier"] + (f", above {row['above']:,} tokens" if row["above"] else "")
    rates = ["" if row[rate] is None else f"{row[rate]:.4g}" for rate in RATES]
    since = "" if row["valid_from"] == price_library.FIRST_DAY.isoformat() else row["valid_from"]
    return [row["model"], tier, *rates, since, row["source"] or row["origin"]]


def _rows(session: Session, provider: Provider, model: str, tier: str) -> list[dict[str, Any]]:
    """Return the rates of a model in a tier, by length of prompt; none if no price is known."""
    today, factor = clock.now().date(), provider.batch_factor
    price = known.find(session, provider.base_url, model, today, tier=tier, batch_factor=factor)
    if price is None or price.input is None:
        return []
    facts = {"origin": price.origin, "source": price.source, "valid_from": price.valid_from.isoformat()}
    ends = {"shutdown": price.shutdown.isoformat() if price.shutdown else None, "successor": price.successor}
    return [{"model": model, "tier": tier, **asdict(rate), **facts, **ends} for rate in price.rates]


@command
def costs(
    by: Annotated[By, typer.Option("--by", help="The column to add up by.")] = By.MONTH,
    db: opt.Db = None,
    as_json: opt.Json = False,
) -> int:
    """Print what was spent, by month, day, job, target or model: failed answers and each attempt count.

    Example: sqlbatch costs --by target
    """
    found = existing(db).read(lambda session: known.spent_by(session, by.value))
    if as_json:
        display.print_json(
            [{by.value if name == "key" else name: value for name, value in asdict(each).items()} for each in found]
        )
        return display.Exit.DONE
    if not found:
        display.info("nothing was billed yet")
        return display.Exit.DONE
    numbers = ("results", "tokens in", "cached", "written", "tokens out", "dollars")
    shown = [
        [
            each.key,
            *(f"{number:,}" for number in (each.results, each.tokens_in, each.tokens_cached, each.tokens_cache_write)),
            f"{each.tokens_out:,}",
            in_dollars(each.dollars) + (f" and {each.unpriced:,} results without a price" if each.unpriced else ""),
        ]
        for each in found
    ]
    display.tables.show_table((by.value, *numbers), shown, right=set(numbers), spare=("written", "cached"))
    return display.Exit.DONE
