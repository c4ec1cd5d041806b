"""The life-cycle of a fine-tuned language model."""
