"""The page that `sqlbatch view` opens: jobs, tables, reviews and spending, on this computer only."""
