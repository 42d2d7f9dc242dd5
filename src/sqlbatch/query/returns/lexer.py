"""The tokens of a column list, each a slice of the source, so that DuckDB reads a condition as it was written."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlbatch.errors import InvalidReturns

_TOKEN = re.compile(
    r"""
    (?P<space>    \s+ | --[^\n]* | /\*.*?\*/ )
  | (?P<quoted>   "(?:[^"]|"")*" )
  | (?P<string>   '(?:[^']|'')*' | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$ )
  | (?P<escaped>  [eExXbB]'(?:[^'\\]|''|\\.)*' )
  | (?P<number>   (?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)? )
  | (?P<word>     [^\W\d][\w$]* )
  | (?P<mark>     [()\[\]{},.;?] | :: )
  | (?P<operator> (?:(?!--|/\*|::)[-+*/<>=~!@\#%^&|`:])+ )
    """,
    re.VERBOSE | re.DOTALL,
)

# Words before a parenthesis that are no function's name; written with a space so that a condition reads as usual.
_KEYWORDS = frozenset(
    [
        "and",
        "or",
        "not",
        "in",
        "between",
        "when",
        "then",
        "else",
        "case",
        "like",
        "ilike",
        "is",
        "to",
        "distinct",
        "any",
        "all",
        "over",
        "lambda",
    ]
)
_TIGHT_AFTER = frozenset("([.{")
_TIGHT_BEFORE = frozenset(")].,}")


@dataclass(frozen=True)
class Token:
    """A token: its kind, its text as written, and where that begins."""

    kind: str
    text: str
    start: int

    @property
    def upper(self) -> str:
        """The text in capitals, to compare keywords with; a quoted name is no keyword."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def value(self) -> str:
        """The name or string it stands for."""
        if self.kind == "quoted":
            return self.text[1:-1].replace('""', '"')
        if self.kind == "string":
            if self.text.startswith("$"):
                width = self.text.index("$", 1) + 1
                return self.text[width:-width]
            return self.text[1:-1].replace("''", "'")
        return self.text


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text without spaces and comments.

    Raises InvalidReturns where a quote is not closed or a character has no business in SQL.
    """
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            rest = " ".join(text[position : position + 30].split())
            unclosed = text[position] in "'\"" or text.startswith(("/*", "$"), position)
            raise InvalidReturns(f"--returns: {'a quote is not closed' if unclosed else 'not SQL'} at: {rest}")
        if match["space"] is None:
            found.append(Token(str(match.lastgroup), match[0], position))
        position = match.end()
    return found


def join(parts: list[Token]) -> str:
    """Return tokens as one line of SQL that does not depend on how the source was laid out."""
    line = ""
    before: Token | None = None
    for token in parts:
        if before is not None and not _is_tight(before, token):
            line += " "
        line += token.text
        before = token
    return line


def _is_tight(before: Token, token: Token) -> bool:
    if before.text == "::" or token.text == "::":
        return True
    if before.text in _TIGHT_AFTER or token.text in _TIGHT_BEFORE:
        return True
    if token.text == "(":
        return before.kind == "quoted" or (before.kind == "word" and before.text.lower() not in _KEYWORDS)
    return (token.text == "[" and before.kind in {"word", "quoted", "string"}) or (
        token.text == "[" and before.text in {")", "]"}
    )
