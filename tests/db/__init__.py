"""Tests of the database and its named SQL."""
