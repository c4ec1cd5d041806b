"""`ftool push-to-hub`: TrainingRun -> Hub repository."""
