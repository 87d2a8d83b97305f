"""Puts the table of operations, made from their signatures, on the page of conformance."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

OPERATIONS = "<!-- operations -->"


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Replace the mark by the table."""
    if OPERATIONS not in markdown:
        return markdown
    from clip_ref.oracle.documentation import operations_page

    return markdown.replace(OPERATIONS, operations_page())
