"""Readers of published archives, one module an archive."""
