"""The offline model: makes an answer from the text of the request alone, the same each time. It is no language model.

For any schema it makes a value: first sentences, keywords, best-matching labels, and numbers and dates from the text.
Use it to try things out, for tests and for load.
"""
