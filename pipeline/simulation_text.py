"""How people write a text differently from one another: typos, cases, blanks, legal forms."""

import numpy as np

_SPELLED = {
    "GmbH": "G.m.b.H.",
    "Ltd": "Limited",
    "Inc": "Incorporated",
    "AG": "Aktiengesellschaft",
    "B.V.": "BV",
    "S.A.": "SA",
}


def misspell(rng: np.random.Generator, text: str) -> str:
    """Swap two neighbouring letters that differ, or drop one where there are none; the first one stays."""
    places = [at for at in range(1, len(text) - 1) if text[at] != text[at + 1] and text[at : at + 2].isalpha()]
    if not places:
        return text[:-1] if len(text) > 1 else text + text
    at = places[int(rng.integers(len(places)))]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def change_case(rng: np.random.Generator, text: str) -> str:
    """Write a text in capitals, or with capital initials, whichever differs."""
    forms = [form for form in (text.upper(), text.title(), text.lower()) if form != text]
    return forms[int(rng.integers(len(forms)))] if forms else text


def add_blank(rng: np.random.Generator, text: str) -> str:
    """Put a blank before or behind a text."""
    return f" {text}" if rng.random() < 0.5 else f"{text} "


def drop_legal_form(_: np.random.Generator, text: str) -> str:
    """Leave out the legal form at the end of a company's name."""
    return text.rsplit(" ", 1)[0]


def spell_legal_form(_: np.random.Generator, text: str) -> str:
    """Write the legal form at the end of a company's name another way."""
    stem, form = text.rsplit(" ", 1)
    return f"{stem} {_SPELLED.get(form, form)}"


def with_www(_: np.random.Generator, text: str) -> str:
    """Write a domain as the address of a web page."""
    return f"www.{text}"


def space_out(_: np.random.Generator, text: str) -> str:
    """Write a tax number in groups of three: DE 123 456 789."""
    return " ".join([text[:2], *(text[at : at + 3] for at in range(2, len(text), 3))])
