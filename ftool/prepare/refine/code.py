"""What of a text is code: fenced blocks and inline code of Markdown."""

import re
from collections.abc import Callable

_FENCE = re.compile(r"^[ \t]{0,12}(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})", re.MULTILINE)
_INLINE = re.compile(r"(?<![\w`])(?:`[^`\n]+`|``(?:[^`\n]|`(?!`))+``)(?![\w`])")
"""A back-tick inside a word, as in `can`t`, is an apostrophe and opens nothing."""
_MARKS = range(0xF0000, 0xFFFFE)
"""Private use: no character of any script."""
_SIGN = re.compile(f"([{chr(_MARKS[0])}-{chr(_MARKS[-1])}])[0-9]+\\1")


def code_spans(text: str) -> list[tuple[int, int]]:
    """Return where the code of a text begins and ends, in reading order.

    A fence that is not closed reaches to the end.

    Source:
        CommonMark 0.31, fenced code blocks and code spans; fences may stand deeper in lists here.
    """
    if "`" not in text and "~~~" not in text:
        return []
    spans: list[tuple[int, int]] = []
    position = 0
    while fence := _FENCE.search(text, position):
        spans += _inline(text, position, fence.start())
        sign, least = fence["fence"][0], len(fence["fence"])
        closing = re.compile(rf"^[ \t]{{0,12}}{sign}{{{least},}}(?=[ \t]*\r?$)", re.MULTILINE)
        end = closing.search(text, fence.end())
        position = end.end() if end else len(text)
        spans.append((fence.start(), position))
    return spans + _inline(text, position, len(text))


def _inline(text: str, start: int, end: int) -> list[tuple[int, int]]:
    return [found.span() for found in _INLINE.finditer(text, start, end)]


def rewrite_prose(text: str, rewrite: Callable[[str], str]) -> str:
    """Rewrite what is no code, as one text: every piece of code is a sign in it meanwhile.

    Where the rewriting takes a sign away, as with a quoted mail, its code goes too.
    """
    spans = code_spans(text)
    if not spans:
        return rewrite(text)
    mark = next(chr(code) for code in _MARKS if chr(code) not in text)
    pieces, position = [], 0
    for number, (start, end) in enumerate(spans):
        pieces += [text[position:start], f"{mark}{number}{mark}"]
        position = end
    prose = rewrite("".join((*pieces, text[position:])))
    parts = prose.split(mark)
    for place in range(1, len(parts), 2):
        start, end = spans[int(parts[place])]
        parts[place] = text[start:end]
    return "".join(parts)


def without_code(prose: str) -> str:
    """Return what `rewrite_prose` rewrites without the signs for code."""
    return _SIGN.sub("", prose)
