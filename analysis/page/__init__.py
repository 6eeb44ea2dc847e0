"""Pages: one HTML template, one style sheet, and the blocks that a page is put together from.

A page is complete in itself: no scripts, nothing from elsewhere, figures inside. All text is escaped by the template;
whoever makes a page hands over plain strings.
"""

from sysmol.analysis.page.blocks import Block, Column, Details, Figure, Figures, Page, Section, Table, Text, Tile
from sysmol.analysis.page.render import render

__all__ = ["Block", "Column", "Details", "Figure", "Figures", "Page", "Section", "Table", "Text", "Tile", "render"]
