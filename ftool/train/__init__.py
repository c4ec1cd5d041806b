"""`ftool train`: PreparedDataset -> TrainingRun."""
