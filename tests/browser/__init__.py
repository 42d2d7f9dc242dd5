"""The page in a real browser: Debian's Chromium, driven by playwright; `pytest tests/browser` and `.ci/run` do it."""
