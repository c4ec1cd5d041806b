"""A report -> what people look at."""
