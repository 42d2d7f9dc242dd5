"""The query layer, tested."""
