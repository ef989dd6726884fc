"""Fetchers of bodies: one kind of source a file."""
