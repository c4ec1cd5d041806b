"""A prompt -> a label or an answer."""
