"""Words as the agent compares them: tokens, stems, synonyms. Pure."""

from __future__ import annotations

import re
from typing import Final

#: What a person writes that is looked at; the rest of a longer message is passed over.
MAX_TEXT: Final = 4_000

_QUOTED = re.compile(r"\"([^\"\n]+)\"|`([^`\n]+)`|“([^”\n]+)”|(?<!\w)'([^'\n]+)'(?!\w)")
_WORD = re.compile(r"\S+")
_EDGES: Final = ".,;:!?()[]{}<>\"'`“”‘’…*"
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_CONTRACTIONS: Final = {
    "dont": "do not",
    "don't": "do not",
    "doesn't": "does not",
    "didn't": "did not",
    "isn't": "is not",
    "aren't": "are not",
    "can't": "can not",
    "cannot": "can not",
    "won't": "will not",
    "shouldn't": "should not",
    "what's": "what is",
    "whats": "what is",
    "how's": "how is",
    "hows": "how is",
    "it's": "it is",
    "that's": "that is",
    "where's": "where is",
    "let's": "let us",
    "lets": "let us",
    "i'd": "i would",
    "i'm": "i am",
    "i'll": "i will",
    "you're": "you are",
    "they're": "they are",
    "gonna": "going to",
    "wanna": "want to",
    "pls": "please",
    "plz": "please",
    "u": "you",
}

# Each row is one meaning; a task whose name has any of its words is meant by all of them.
_SYNONYMS: Final = (
    "test tests testing tested suite spec specs pytest unittest",
    "deploy deployment deploys ship shipping release rollout publish",
    "build building builds compile package bundle pack artifact artefact",
    "report reports reporting summary summarise summarize statistics stats overview",
    "refactor refactoring rename renaming renames",
    "shell bash terminal cmd",
    "lint linter linting lints",
    "migrate migration migrations",
    "backup backups",
    "clean cleanup cleaning",
    "install installation",
    "sync synchronise synchronize synchronisation synchronization",
    "import imports importing",
    "export exports exporting",
)


def word_set(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


#: Words that say nothing about which task is meant, nor how.
FILLERS: Final = word_set("""
    a an the this that these those it its them of on to in into at for with by from and then so as
    be me my mine us our your you we i please thanks thank kindly now just quickly again once more
    right away also too here there whole full entire complete all everything every any some one new
    latest current project code codebase repository repo app application program job task thing up
    off out go going get let do not ok okay hey hi hello well actually maybe want would like need
    could can will shall unit show use put
""")

#: Words that ask for something to be done without saying what.
VERBS: Final = word_set("""
    run start do execute launch kick trigger make write give create generate produce perform begin
    fire rerun redo prepare queue schedule
""")

_STEM_OF: Final[dict[str, str]] = {}


def lowered(text: str) -> str:
    """Lower case, one kind of apostrophe, contractions written out, single spaces, no punctuation
    at the edges of words."""
    words = (word.strip(_EDGES) for word in text[:MAX_TEXT].lower().replace("’", "'").split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word)


def quoted(text: str) -> list[str]:
    """What stands in quotes or backticks."""
    return [next(filter(None, found.groups())) for found in _QUOTED.finditer(text[:MAX_TEXT])]


def without_quotes(text: str) -> str:
    """The text with what stands in quotes taken out."""
    return _QUOTED.sub(" ", text[:MAX_TEXT])


def raw_words(text: str) -> list[str]:
    """The words in their own case, without punctuation at their edges."""
    words = (found.group() for found in _WORD.finditer(text[:MAX_TEXT].replace("’", "'")))
    # A parametrised test ends in "]", which is no punctuation there.
    return [kept for word in words if (kept := word if "::" in word else word.strip(_EDGES))]


def stem(word: str) -> str:
    """A crude stem: enough to make "tests", "tested" and "testing" one."""
    word = word.lower().removesuffix("'s")
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: -len(ending)]
    return word


def meaning(word: str) -> str:
    """What a word is compared by: its synonyms' first stem, or its own."""
    found = stem(word)
    return _STEM_OF.get(word.lower()) or _STEM_OF.get(found, found)


def name_words(name: str) -> list[str]:
    """The words of an identifier: `run_tests`, `run-tests`, `runTests` are run and tests."""
    return [word.lower() for word in _CAMEL.findall(name)]


for _row in _SYNONYMS:
    _first = stem(_row.split()[0])
    for _word in _row.split():
        _STEM_OF[_word] = _first
        _STEM_OF.setdefault(stem(_word), _first)
