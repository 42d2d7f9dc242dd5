"""The query layer: turns the user's SQL into rows and requests, and in the end joins the results to the rows."""
