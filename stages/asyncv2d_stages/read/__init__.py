"""Readers of input tables: one format a file."""
