"""The query layer: the user's SQL in, rows and requests out, and at the end results joined to rows."""
