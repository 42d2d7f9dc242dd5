"""Reading tokens from left to right, with errors that say where."""

from __future__ import annotations

from sqlbatch.errors import InvalidReturns
from sqlbatch.query.returns.lexer import Token, join

_END = Token("end", "", -1)


class Reader:
    """Reads tokens; `where` is the column that an error names."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._position = 0
        self.where = "--returns"

    def peek(self, ahead: int = 0) -> Token:
        """Return a token without taking it; behind the last one there is an empty token."""
        position = self._position + ahead
        return self._tokens[position] if position < len(self._tokens) else _END

    def next(self) -> Token:
        """Take a token."""
        token = self.peek()
        self._position += 1
        return token

    def skip(self, count: int) -> None:
        """Take some tokens, whatever they are."""
        self._position += count

    def take(self, *words: str) -> bool:
        """Take these keywords if they come next, and tell whether they did."""
        if tuple(self.peek(i).upper for i in range(len(words))) != words:
            return False
        self._position += len(words)
        return True

    @property
    def at_end(self) -> bool:
        """Whether all tokens are taken."""
        return self._position >= len(self._tokens)

    @property
    def at_end_of_column(self) -> bool:
        """Whether the definition of a column or field ends here."""
        return self.at_end or self.peek().text in {",", ")"}

    def expect(self, text: str, what: str) -> None:
        """Take a token that must be there."""
        token = self.next()
        if token.text != text:
            raise self.error(f"expected {what} instead of {token.text or 'the end'}")

    def name(self) -> str:
        """Take a name."""
        token = self.next()
        if token.kind not in {"word", "quoted"}:
            where = f"instead of {token.text}" if token.text else "at the end"
            raise self.error(f"expected a column name {where}; write names and types, such as summary VARCHAR")
        if not token.value:
            raise self.error("a name is empty; give it one")
        return token.value

    def string(self, usage: str) -> str:
        """Take a text in quotes."""
        token = self.next()
        if token.kind != "string":
            raise self.error(usage)
        return token.value

    def whole(self, usage: str, least: int = 0) -> int:
        """Take a whole number."""
        token = self.next()
        if not token.text.isascii() or not token.text.isdigit() or len(token.text) > 9 or int(token.text) < least:
            raise self.error(usage)
        return int(token.text)

    def parenthesised(self) -> str:
        """Take a condition in parentheses, and return what stands in them as one line."""
        self.expect("(", "a condition in parentheses behind CHECK")
        begin, depth = self._position, 1
        while depth:
            if self.at_end:
                raise self.error("the parenthesis of CHECK is not closed")
            depth += {"(": 1, ")": -1}.get(self.next().text, 0)
        inner = self._tokens[begin : self._position - 1]
        if not inner:
            raise self.error("CHECK () says nothing; leave it away")
        return join(inner)

    def error(self, message: str) -> InvalidReturns:
        """Return an error that names the column."""
        return InvalidReturns(" ".join(f"{self.where}: {message}".split()))
