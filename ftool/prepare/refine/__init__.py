"""Rows -> shards: what is decided of one row alone."""
