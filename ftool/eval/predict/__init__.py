"""Rows -> predictions."""
