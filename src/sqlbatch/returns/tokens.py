"""The tokens of a column list, each as it was written, so that DuckDB reads a condition as the user wrote it."""

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
  | (?P<operator> <-> | ->>? | (?:(?!/\*|::)[*/<>=~!@\#%^&|`:])+ | [-+] )
    """,
    re.VERBOSE | re.DOTALL,
)
# Words before a parenthesis that are not a function's name, and words after which a sign belongs to a number.
_KEYWORD = re.compile(
    "and|or|not|in|between|when|then|else|case|i?like|is|to|distinct|any|all|over|lambda|where|by|end", re.IGNORECASE
)


@dataclass(frozen=True)
class Token:
    """A token: its kind, and its text as written."""

    kind: str
    text: str

    @property
    def upper(self) -> str:
        """The text in capitals, to compare with keywords; a quoted name is no keyword."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def value(self) -> str:
        """The name or text that the token stands for."""
        if self.kind == "quoted":
            return self.text[1:-1].replace('""', '"')
        if self.text.startswith("$"):
            width = self.text.index("$", 1) + 1
            return self.text[width:-width]
        return self.text[1:-1].replace("''", "'") if self.kind == "string" else self.text


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text without spaces and comments.

    Raises InvalidReturns if a quote is not closed or a character does not belong in SQL.
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
            found.append(Token(str(match.lastgroup), match[0]))
        position = match.end()
    return found


def in_one_line(parts: list[Token]) -> str:
    """Return tokens as one line of SQL that does not depend on the layout of the source."""
    line = ""
    for i, token in enumerate(parts):
        if i > 0 and not _is_tight(parts[i - 2] if i > 1 else None, parts[i - 1], token):
            line += " "
        line += token.text
    return line


def _is_tight(earlier: Token | None, before: Token, token: Token) -> bool:
    if "::" in (before.text, token.text) or before.text in set("([.{") or token.text in set(")].,}"):
        return True
    if before.text in {"-", "+"}:
        return earlier is None or not _ends_value(earlier)
    return token.text in {"(", "["} and _ends_value(before) and (token.text == "[" or before.kind in {"word", "quoted"})


def _ends_value(token: Token) -> bool:
    """Return whether a value may end with a token, so that a sign after it is an operator."""
    if token.kind == "word":
        return _KEYWORD.fullmatch(token.text) is None
    return token.kind in {"quoted", "string", "escaped", "number"} or token.text in {")", "]", "}"}
