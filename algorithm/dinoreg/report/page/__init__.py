"""Self-contained HTML pages of registrations: one per pair, to look through, and an index of many."""

from dinoreg.report.page.index import IndexRow, index_row, write_index
from dinoreg.report.page.shown import Points, Shown
from dinoreg.report.page.write import MOST_VOXELS, Page, make_page

__all__ = ["MOST_VOXELS", "IndexRow", "Page", "Points", "Shown", "index_row", "make_page", "write_index"]
