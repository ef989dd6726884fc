"""Subsamplers: one media operation a file."""
