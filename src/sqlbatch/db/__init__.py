"""The user's DuckDB database: connections, named SQL, frozen rows."""
