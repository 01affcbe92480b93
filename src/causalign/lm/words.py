"""Read words, numbers and signs out of texts of any script, as Unicode cuts them."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

# Scripts that put no blanks between words: their words are found as sequences of characters.
WITHOUT_BLANKS = (
    *("Han", "Hiragana", "Katakana", "Bopomofo", "Thai", "Lao", "Khmer", "Myanmar"),
    *("Tibetan", "Javanese", "Tai_Tham", "New_Tai_Lue", "Tai_Viet", "Yi"),
)
# The marks that lengthen or repeat a character belong to no script of their own.
BESIDE = "ー々〆〻ゝゞ"
LONGEST_PHRASE = 3
LONGEST_SEQUENCE = 4

# Numbers keep their points, commas, dashes and units: 4.67, 1,234, 2024-01-05, 10:30, $5, 10%.
# A word keeps its apostrophes, hyphens and inner points: don't, e-mail, node.js, C++, U.S.
ASCII = re.compile(
    r"""
    (?:(?<![A-Za-z0-9_])[A-Za-z]\.){2,}(?![A-Za-z0-9_])
    | \$?[0-9]+(?:[.,:/-][0-9]+)*[A-Za-z0-9_]*%?
    | [A-Za-z_][A-Za-z0-9_]*
      (?:(?:['&-](?=[A-Za-z0-9])|\.(?=[a-z0-9]))[A-Za-z0-9_]+)*
      (?:\+\+|\#(?![A-Za-z0-9_]))?
    """,
    re.VERBOSE | re.ASCII,
)
ASCII_SIGN = re.compile(r"[^\w\s]", re.ASCII)


def read_phrases(text: str) -> list[str]:
    """Return the words and phrases of a text, folded, with repetitions.

    Phrases are up to three words that follow each other. In scripts without blanks between words,
    sequences of one to four characters stand for both, combining marks counted with the character
    that they belong to; in Korean, whose words carry particles, sequences of two to four syllables
    are added to the words.
    """
    sentences, sequences = _cut(text)
    return [*(p for words in sentences for p in _join_words(words)), *sequences]


def read_signs(text: str) -> list[str]:
    """Return the signs of a text that are neither letter, digit nor blank, with repetitions.

    An emoji is one sign with its skin tone, its joined parts, and both letters of its flag.
    """
    if text.isascii():
        return ASCII_SIGN.findall(text)
    return list(_patterns()["sign"].findall(unicodedata.normalize("NFC", text)))


def is_emoji(sign: str) -> bool:
    """Return whether a sign is drawn as a picture."""
    return bool(_patterns()["picture"].search(sign))


def parts_of(phrase: str) -> list[str]:
    """Return the words or characters of which a phrase that `read_phrases` returned is made."""
    if " " in phrase:
        return phrase.split(" ")
    whole = phrase.isascii() or not _is_sequence(phrase)
    return [phrase] if whole else _characters(phrase)


def phrases_within(phrase: str) -> list[str]:
    """Return what follows each other within such a phrase, shorter than the whole."""
    parts = parts_of(phrase)
    between, count = " " if " " in phrase else "", len(parts)
    return [
        between.join(parts[start : start + length])
        for length in range(1, count)
        for start in range(count - length + 1)
    ]


def join_overlapping(phrase: str, others: Sequence[str], longest: int = 12) -> str:
    """Join to a phrase others of its length that overlap it by all but one of their parts.

    Of "祝大家星" and "大家星期", "祝大家星期"; never beyond ``longest`` parts.
    """
    parts = parts_of(phrase)
    between, overlap = " " if " " in phrase else "", len(parts) - 1
    left = [p for p in map(parts_of, others) if len(p) == len(parts) > 1 and p != parts]
    while left and len(parts) < longest:
        after = next((p for p in left if p[:-1] == parts[-overlap:]), None)
        before = next((p for p in left if p[1:] == parts[:overlap]), None)
        if after is not None:
            parts = [*parts, after[-1]]
            left.remove(after)
        elif before is not None:
            parts = [before[0], *parts]
            left.remove(before)
        else:
            break
    return between.join(parts)


def _join_words(words: Sequence[str]) -> list[str]:
    phrases = list(words)
    for length in range(2, LONGEST_PHRASE + 1):
        phrases += map(" ".join, zip(*(words[start:] for start in range(length)), strict=False))
    return phrases


def _cut(text: str) -> tuple[list[list[str]], list[str]]:
    """Return lists of words that follow each other, and sequences of characters."""
    if text.isascii():
        # Folded together, which is faster than word by word: no word holds a line break.
        words = "\n".join(ASCII.findall(text)).lower()
        return [words.split("\n")] if words else [], []
    patterns = _patterns()
    plain = patterns["invisible"].sub("", unicodedata.normalize("NFC", text))
    sentences: list[list[str]] = [[]]
    sequences: list[str] = []
    for match in patterns["token"].finditer(plain):
        token = unicodedata.normalize("NFC", match[0].replace("’", "'").casefold())
        if match["run"] is not None:
            sentences.append([])
            sequences += _sequences(_characters(token), 1)
            continue
        sentences[-1].append(token)
        if patterns["hangul"].fullmatch(token):
            sequences += [s for s in _sequences(list(token), 2) if s != token]
    return sentences, sequences


def _sequences(characters: Sequence[str], shortest: int) -> list[str]:
    count = len(characters)
    return [
        "".join(characters[start : start + length])
        for length in range(shortest, LONGEST_SEQUENCE + 1)
        for start in range(count - length + 1)
    ]


def _characters(text: str) -> list[str]:
    """Return what a reader calls characters: letters with their marks."""
    return list(_patterns()["character"].findall(text))


def _is_sequence(phrase: str) -> bool:
    patterns = _patterns()
    return bool(patterns["run"].fullmatch(phrase) or patterns["hangul"].fullmatch(phrase))


@cache
def _patterns() -> dict[str, Any]:
    # Here, because English texts do without it.
    import regex

    scripts = "".join(rf"\p{{{name}}}" for name in WITHOUT_BLANKS)
    run = rf"[{scripts}{BESIDE}--[\p{{N}}\p{{P}}]][{scripts}{BESIDE}\p{{M}}--[\p{{N}}\p{{P}}]]*"
    first = rf"[\p{{L}}_--[{scripts}{BESIDE}]]"
    rest = rf"[\p{{L}}\p{{M}}\p{{N}}_--[{scripts}{BESIDE}]--[\p{{So}}]]"
    marks = r"\p{M}*"
    word = (
        rf"{first}{rest}*(?:(?:['’ʼ&·\-‐‑](?={rest})|\.(?=[\p{{Ll}}\p{{N}}])){rest}+)*"
        rf"(?:\+\+|\#(?!{rest}))?"
    )
    number = rf"[$€£¥₹₩₽฿]?\d+(?!\u20E3)(?:[.,:/\-٫٬]\d+)*{rest}*[%‰°٪]?"
    short = rf"(?:(?<!{rest}){first}{marks}\.){{2,}}(?!{rest})"
    tone = r"[\p{Emoji_Modifier}\uFE0F]|[\U000E0020-\U000E007F]+"
    one = rf"\p{{Extended_Pictographic}}(?:{tone})*"
    picture = rf"\p{{RI}}\p{{RI}}|[0-9#*]\uFE0F?\u20E3|{one}(?:\u200D{one})*"
    made = {
        "token": rf"(?P<run>{run})|{short}|{number}|{word}",
        "run": run,
        "hangul": r"\p{Hangul}+",
        "character": r"\X",
        "invisible": r"[\p{Cf}\u00AD\uFE00-\uFE0F]",
        "sign": rf"{picture}|[^\w\s\p{{M}}\p{{C}}]{marks}",
        "picture": r"\p{Emoji_Presentation}|\uFE0F|\p{RI}|\u20E3",
    }
    return {name: regex.compile(pattern, regex.V1) for name, pattern in made.items()}
