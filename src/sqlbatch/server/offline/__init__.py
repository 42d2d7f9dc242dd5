"""The offline model: deterministic answers from a request's text alone, always valid for the asked-for schema."""
