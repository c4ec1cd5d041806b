"""The blocks of a recipe, one file each."""
