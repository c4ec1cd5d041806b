"""Decisions -> the folder of a prepared dataset, and what people read of it."""
