"""Tables beyond the user's DuckDB file: targets in other databases, and rows that another engine keeps."""
