"""`ftool prepare`: raw sources -> PreparedDataset (imports neither torch nor transformers)."""
