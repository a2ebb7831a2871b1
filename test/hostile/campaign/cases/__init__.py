"""All cases, by what is broken."""

from campaign.case import Case, Play, unique
from campaign.cases import archives, documents, fields, images, kinds, metaimages, paths, points, system


def all_cases() -> list[Case | Play]:
    """Return every case of the campaign."""
    modules = (images, metaimages, fields, documents, points, archives, kinds, paths, system)
    return unique(case for module in modules for case in module.cases())
