"""SQL in, a language model's columns out."""
