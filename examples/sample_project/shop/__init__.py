"""A small web shop without its web pages."""

__version__ = "1.4.0"
