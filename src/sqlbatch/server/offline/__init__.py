"""The offline model: deterministic answers from the request's text alone. It is no language model, and says so.

A value is made for any schema: first sentences, keywords, best-matching labels, numbers and dates found in the text. It
is for trying things out, for tests and for load.
"""
