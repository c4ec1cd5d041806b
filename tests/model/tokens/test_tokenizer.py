import json

from tiny import tiny_tokenizer

from ftool.model.tokens.tokenizer import save_tokenizer


def test_a_saved_tokenizer_names_a_class_that_others_know(tmp_path):
    save_tokenizer(tiny_tokenizer(), tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert not settings.keys() & {"backend", "is_local", "local_files_only", "name_or_path"}
