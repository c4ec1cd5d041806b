"""Models and tokenizers: the only folder that imports transformers and peft."""
