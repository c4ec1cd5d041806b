"""Shards -> decisions: what depends on other rows."""
