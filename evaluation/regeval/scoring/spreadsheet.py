"""Texts in csv files that a spreadsheet may open."""

# A spreadsheet takes a cell that begins so for a formula and runs it, quoted or not.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def defused(text: str) -> str:
    """Return text that a spreadsheet shows instead of running it: an apostrophe before a formula's sign.

    Carriage returns become spaces, since the writer does not quote them and they would begin a new line.
    """
    plain = text.replace("\r", " ")
    return f"'{plain}" if text.startswith(_FORMULA_STARTS) else plain
