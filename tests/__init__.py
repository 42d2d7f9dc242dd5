"""The checks of the project."""
