"""Minimal pairs: two texts that differ in one marker only, so that a test tells what it does."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from causalign.errors import InputError, SettingsError
from causalign.experiment.candidates import Candidates
from causalign.experiment.findings import edits_made
from causalign.lm.words import is_emoji, parts_of, read_phrases, read_signs
from causalign.logs.long_texts import CHARACTERS_READ
from causalign.programs import Program
from causalign.results import Finding, Result, Section

# Signs that may end a text.
ENDS = ".!?…。！？"
# A rewritten text may have so many more or fewer words than it had, as a share of them.
LENGTH_CHANGE = 0.2


@dataclass(frozen=True, slots=True)
class Edit:
    """A text into which a marker is to be inserted, or from which it is to be removed.

    Attributes
    ----------
    text, marker : str
    insert : bool
        Else it is removed.
    prompt : str, optional
        What the text answers.
    """

    text: str
    marker: str
    insert: bool
    prompt: str | None = None


# Returns a text for each edit.
Rewriter = Callable[[Sequence[Edit]], Sequence[str]]


@dataclass(frozen=True, slots=True)
class CommandRewriter:
    """A rewriter that is a program: one JSON object a line in, one a line out, in any order.

    In: ``{"id": 0, "text": "...", "prompt": null, "marker": "free", "edit": "insert"}``, or
    ``"remove"``. Out: ``{"id": 0, "text": "..."}``. It is started once, without a shell.

    Parameters
    ----------
    command : tuple of str
        The program and its arguments.
    timeout : float
        Seconds after which it is killed.

    Raises
    ------
    SettingsError
        When ``command`` is one string, or ``timeout`` is not above 0.
    """

    command: tuple[str, ...]
    timeout: float = 600.0

    def __post_init__(self) -> None:
        self._program()

    def __call__(self, edits: Sequence[Edit]) -> list[str]:
        """Return the rewritten texts; raise ``InputError`` if answers break the protocol."""
        questions = [
            {
                "text": edit.text,
                "prompt": edit.prompt,
                "marker": edit.marker,
                "edit": "insert" if edit.insert else "remove",
            }
            for edit in edits
        ]
        return self._program().ask(questions, "text", _read_text)

    def _program(self) -> Program:
        return Program(self.command, "rewriter", "text", self.timeout)


def _read_text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where} has the text {value!r}, which is no string.")
    return value


@dataclass(frozen=True, slots=True)
class MinimalPair:
    """Two texts that differ in one marker: with it and without it.

    Attributes
    ----------
    marker, with_marker, without : str
    prompt : str, optional
        What both answer.
    """

    marker: str
    with_marker: str
    without: str
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class RefusedEdit:
    """An edit that would have changed more than its marker, and why it was refused.

    Attributes
    ----------
    edit : Edit
    reason : str
    """

    edit: Edit
    reason: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MinimalPairs(Result):
    """Texts with and without a marker, and the edits that were refused.

    Attributes
    ----------
    pairs : tuple of MinimalPair
    refused : tuple of RefusedEdit
    """

    pairs: tuple[MinimalPair, ...]
    refused: tuple[RefusedEdit, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """EX204."""
        return (edits_made(len(self.pairs), len(self.refused)),)

    def candidates(self) -> Candidates:
        """Return the texts as candidates of which only the two of a pair may compete."""
        count, width = len(self.pairs), len(str(len(self.pairs)))
        prompts = [pair.prompt for pair in self.pairs for _ in range(2)]
        return Candidates(
            [text for pair in self.pairs for text in (pair.with_marker, pair.without)],
            [f"“{self.pairs[i].marker}” {i + 1:0{width}d}" for i in range(count) for _ in range(2)],
            None if None in prompts else [str(prompt) for prompt in prompts],
        )

    def answer(self) -> str:
        """Return how many pairs there are, and how many edits were refused."""
        markers = dict.fromkeys(pair.marker for pair in self.pairs)
        named = ", ".join(f"“{marker}”" for marker in markers)
        refused = f"; {len(self.refused):,} edits were refused" if self.refused else ""
        return f"{len(self.pairs):,} pairs of texts differ in one marker only ({named}){refused}."

    def table(self) -> pa.Table:
        """Return one row for each pair."""
        return pa.table(
            {
                "marker": [pair.marker for pair in self.pairs],
                "with_marker": [pair.with_marker for pair in self.pairs],
                "without": [pair.without for pair in self.pairs],
            }
        )

    def refusals(self) -> pa.Table:
        """Return one row for each edit that was refused, with the reason."""
        return pa.table(
            {
                "marker": [one.edit.marker for one in self.refused],
                "edit": ["insert" if one.edit.insert else "remove" for one in self.refused],
                "text": [one.edit.text for one in self.refused],
                "reason": [one.reason for one in self.refused],
            },
            schema=pa.schema(
                [(name, pa.string()) for name in ("marker", "edit", "text", "reason")]
            ),
        )

    def reasons(self) -> pa.Table:
        """Return one row for each reason why edits were refused: how many, and the first text."""
        first: dict[tuple[str, str, str], str] = {}
        counts: Counter[tuple[str, str, str]] = Counter()
        for row in self.refusals().to_pylist():
            key = (row["marker"], row["edit"], row["reason"])
            counts[key] += 1
            first.setdefault(key, row["text"])
        names = ("marker", "edit", "reason")
        columns = {name: [key[at] for key in counts] for at, name in enumerate(names)}
        return pa.table(
            {**columns, "texts": list(counts.values()), "such as": list(first.values())}
        )

    def section(self) -> Section:
        """Return the pairs and the refusals as a section of a report."""
        tables = {"minimal pairs": self.table()}
        if self.refused:
            tables |= {"refused edits": self.reasons(), "all refused edits": self.refusals()}
        return Section(
            stage="experiment",
            question="Which texts differ in one marker only?",
            answer=self.answer(),
            assumption="What the two texts differ in beside the marker, nobody reads.",
            numbers={"pairs": float(len(self.pairs)), "refused": float(len(self.refused))},
            tables=tables,
            findings=self.findings,
        )


def make_minimal_pairs(
    texts: Sequence[str],
    markers: Sequence[str],
    *,
    prompts: Sequence[str] | None = None,
    rewriter: Rewriter | None = None,
) -> MinimalPairs:
    """Insert each marker into texts that lack it, and remove it from texts that have it.

    A test of such a pair identifies what the marker does, with no deconfounding at all. Rules
    insert a word or phrase in front of a text, a sign that ends sentences at the end of a text
    that has none there, an emoji at the end; they remove words, phrases and signs wherever they
    stand. All other words and signs must stay, and so must the other markers, else the edit is
    refused, as it is for texts of more than 20,000 characters. A rewriter may change other words:
    then the signs and the other markers must stay, and the number of words within a fifth.

    Assumption: what a reader sees beside the marker is the same in both texts.

    Parameters
    ----------
    texts : sequence of n str
    markers : sequence of str
        Words, phrases or signs.
    prompts : sequence of n str, optional
    rewriter : callable, optional
        Returns a text for each `Edit`, such as a `CommandRewriter`; rules unless given.

    Returns
    -------
    MinimalPairs

    Raises
    ------
    SettingsError
        Without a marker, or for one that is blank or neither words nor one sign.
    InputError
        For prompts of another number, a rewriter that breaks its protocol, or if every edit was
        refused, with the reasons.
    """
    if isinstance(markers, str) or not markers:
        raise SettingsError("markers must be a list of at least one word, phrase or sign.")
    for marker in markers:
        _check_marker(marker)
    if prompts is not None and len(prompts) != len(texts):
        raise InputError(f"There are {len(texts):,} texts and {len(prompts):,} prompts.")
    answering: Sequence[str | None] = [None] * len(texts) if prompts is None else prompts
    edits = [
        Edit(text, marker, not _pattern(marker).search(text), prompt)
        for marker in dict.fromkeys(markers)
        for text, prompt in dict.fromkeys(zip(texts, answering, strict=True))
    ]
    reason = f"the text has more than {CHARACTERS_READ:,} characters"
    refused = [RefusedEdit(edit, reason) for edit in edits if len(edit.text) > CHARACTERS_READ]
    edits = [edit for edit in edits if len(edit.text) <= CHARACTERS_READ]
    pairs: dict[MinimalPair, None] = {}
    for edit, rewritten in zip(edits, _rewrite(edits, rewriter), strict=True):
        reason = rewritten.reason or _find_fault(edit, rewritten.text, markers, rewriter is None)
        if reason:
            refused.append(RefusedEdit(edit, reason))
            continue
        sides = (rewritten.text, edit.text) if edit.insert else (edit.text, rewritten.text)
        pairs.setdefault(MinimalPair(edit.marker, *sides, edit.prompt))
    if not pairs:
        counts = Counter(one.reason for one in refused).most_common(3)
        reasons = "; ".join(f"{reason} ({count:,})" for reason, count in counts)
        raise InputError(
            f"None of {len(refused):,} edits changes one marker alone: {reasons or 'no texts'}. "
            "Give other texts or markers, or a command that rewrites them."
        )
    return MinimalPairs(tuple(pairs), tuple(refused))


@dataclass(frozen=True, slots=True)
class _Rewritten:
    """What became of a text, or why nothing did."""

    text: str = ""
    reason: str = ""


def _rewrite(edits: Sequence[Edit], rewriter: Rewriter | None) -> list[_Rewritten]:
    if rewriter is None:
        return [_insert(edit) if edit.insert else _remove(edit) for edit in edits]
    texts = rewriter(edits)
    if len(texts) != len(edits):
        raise InputError(f"The rewriter returned {len(texts):,} texts for {len(edits):,} edits.")
    return [_Rewritten(_read_text(text, f"Answer {i}")) for i, text in enumerate(texts)]


def _check_marker(marker: str) -> None:
    if not marker.strip():
        raise SettingsError("A marker must be a word, a phrase or a sign, not a blank.")
    if not read_phrases(marker) and len(read_signs(marker)) != 1:
        raise SettingsError(
            f"The marker {marker!r} is neither words nor one sign. Give its signs one by one."
        )


def _is_sign(marker: str) -> bool:
    return not read_phrases(marker)


def _pattern(marker: str) -> re.Pattern[str]:
    """Return where a text holds a marker: words between boundaries, in any case of letters.

    A part of "free-range" or "don't" is no word; where words stand without blanks, any part is.
    """
    before, after = r"(?<!\w)(?<!\w[-'’&])", r"(?!\w)(?![-'’&]\w)"
    if _is_sign(marker) or not marker.isascii():
        before = after = ""
    parts = r"\s+".join(map(re.escape, marker.split()))
    return re.compile(f"{before}{parts}{after}", re.IGNORECASE)


def _insert(edit: Edit) -> _Rewritten:
    text, marker = edit.text, edit.marker.strip()
    if not text.strip():
        return _Rewritten(reason="the text is empty")
    if not _is_sign(marker):
        begins = marker[0].upper() + marker[1:] if text.lstrip()[0].isupper() else marker
        return _Rewritten(f"{begins} {text.lstrip()}")
    if is_emoji(marker):
        return _Rewritten(f"{text.rstrip()} {marker}")
    if marker not in ENDS:
        return _Rewritten(reason=f"no rule says where “{marker}” belongs")
    last = text.rstrip()[-1]
    if read_signs(last):
        return _Rewritten(reason=f"the text ends with a sign, which “{marker}” would follow")
    return _Rewritten(text.rstrip() + marker)


def _remove(edit: Edit) -> _Rewritten:
    marker = _pattern(edit.marker).pattern
    pattern = re.compile(rf"(\s*){marker}(?:\s*{marker})*(\s*)", re.IGNORECASE)
    # The blanks of one side stay between two words, and none before a sign or at an end.
    text = pattern.sub(lambda m: m[2] and (m[1] or m[2]), edit.text).strip()
    if not text:
        return _Rewritten(reason="nothing would be left")
    if read_signs(text[0]) and not read_signs(edit.text.lstrip()[0]):
        return _Rewritten(reason="the text would begin with a sign")
    if edit.text.lstrip()[0].isupper():
        text = text[0].upper() + text[1:]
    return _Rewritten(text)


def _find_fault(edit: Edit, text: str, markers: Sequence[str], by_rule: bool) -> str:
    """Return what else an edit changed, or nothing if the marker alone did."""
    longer, shorter = (text, edit.text) if edit.insert else (edit.text, text)
    if not _pattern(edit.marker).search(longer):
        return f"“{edit.marker}” was not inserted"
    if _pattern(edit.marker).search(shorter):
        return f"“{edit.marker}” was not removed"
    for other in markers:
        if other != edit.marker and bool(_pattern(other).search(text)) != bool(
            _pattern(other).search(edit.text)
        ):
            return f"the marker “{other}” would change too"
    own = Counter(read_signs(edit.marker))
    signs = [Counter(read_signs(side)) for side in (longer, shorter)]
    changed = [sign for sign in signs[0] | signs[1] if signs[0][sign] != signs[1][sign]]
    if any(sign not in own for sign in changed):
        return f"other signs would change too: {' '.join(changed)}"
    return _find_changed_words(edit, longer, shorter, by_rule)


def _find_changed_words(edit: Edit, longer: str, shorter: str, by_rule: bool) -> str:
    words, left = (Counter(_read_words(side)) for side in (longer, shorter))
    if not by_rule:
        most = LENGTH_CHANGE * left.total() + len(_read_words(edit.marker))
        gap = abs(words.total() - left.total())
        return f"the number of words would change by {gap}" if gap > most else ""
    if _is_sign(edit.marker):
        gone = {}
    else:
        times = 1 if edit.insert else len(_pattern(edit.marker).findall(longer))
        gone = {word: n * times for word, n in Counter(_read_words(edit.marker)).items()}
    left.update(gone)
    changed = [word for word in words | left if words[word] != left[word]]
    return f"other words would change too: {', '.join(changed[:5])}" if changed else ""


def _read_words(text: str) -> list[str]:
    """Return words, or characters where no blanks stand between words."""
    return [word for word in read_phrases(text) if len(parts_of(word)) == 1]
