import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

from ftool.errors import DataError
from ftool.eval.predict import losses
from ftool.eval.predict.losses import loss_batches
from ftool.example import NOT_LEARNED, Example, Message
from ftool.model.tokens.encode import encode_examples, make_encoder

CHATS = [
    Example(
        f"c{n}",
        (Message("user", "hi " * n), Message("assistant", answer), Message("user", "and?")),
    )
    for n, answer in enumerate(["money back", "né 🙂 x", "delivery"], start=1)
]
CHATS = [Example(chat.id, (*chat.messages, Message("assistant", "later"))) for chat in CHATS]
TEXTS = [Example("t", text="parcel " * 200), Example("t#1", text="late"), Example("e", text="x")]


def scored(model, encoder, examples):
    found = {}
    for batch in loss_batches(model, encoder, examples):
        assert not found.keys() & batch.keys()
        found.update(batch)
    return [found[place] for place in range(len(examples))]


def reference(model, windows):
    """Return loss, learned tokens and right first guesses, one plain pass per window."""
    loss, tokens, right = 0.0, 0, 0
    for window in windows:
        with torch.inference_mode():
            logits = model(torch.tensor([window.input_ids])).logits[0, :-1]
        labels = torch.tensor(window.labels[1:])
        learned = labels != NOT_LEARNED
        loss += torch.nn.functional.cross_entropy(
            logits[learned], labels[learned], reduction="sum"
        ).item()
        tokens += int(learned.sum())
        right += int((logits.argmax(-1)[learned] == labels[learned]).sum())
    return loss / tokens, tokens, right


@pytest.mark.parametrize(("kind", "examples"), [("chat", CHATS), ("text", TEXTS)])
def test_scores_are_those_of_plain_passes(kind, examples):
    model, encoder = tiny_model(), make_encoder(tiny_tokenizer(), kind=kind)
    for example, found in zip(examples, scored(model, encoder, examples), strict=True):
        windows = encode_examples([example], encoder, max_length=256).examples
        loss, tokens, right = reference(model, windows)
        assert found.id == example.id
        assert found.loss == pytest.approx(loss, abs=1e-5)
        assert (found.learned_tokens, found.correct_tokens) == (tokens, right)


@pytest.mark.parametrize(("kind", "examples"), [("chat", CHATS), ("text", TEXTS)])
def test_batches_of_known_examples_are_left_out_and_the_others_keep_every_bit(
    kind, examples, monkeypatch
):
    monkeypatch.setattr(losses, "BATCH_SIZE", 1)
    model, encoder = tiny_model(), make_encoder(tiny_tokenizer(), kind=kind)
    every = scored(model, encoder, examples)
    left = [dict(batch) for batch in loss_batches(model, encoder, examples, known={0, 2}) if batch]
    assert left == [{1: every[1]}]


def test_the_bytes_are_those_of_the_learned_text():
    model, encoder = tiny_model(), make_encoder(tiny_tokenizer())
    found = scored(model, encoder, CHATS)
    learned = [
        "".join(message.content for message in chat.messages if message.role == "assistant")
        for chat in CHATS
    ]
    # The line break behind the end of a turn is learned where a turn follows.
    for text, row in zip(learned, found, strict=True):
        assert 0 <= row.learned_bytes - len(text.encode()) <= 2


def test_a_long_text_counts_once():
    model, encoder = tiny_model(), make_encoder(tiny_tokenizer(), kind="text")
    windows = encode_examples(TEXTS[:1], encoder, max_length=256).examples
    assert len(windows) > 1
    (found,) = scored(model, encoder, TEXTS[:1])
    assert found.learned_tokens == sum(window.learned_tokens for window in windows)


def test_a_conversation_beyond_the_context_is_named():
    chat = Example("c9", (Message("user", "x" * 400), Message("assistant", "y")))
    with pytest.raises(DataError, match="c9 is longer than the model's 256 tokens"):
        scored(tiny_model(), make_encoder(tiny_tokenizer()), [*CHATS, chat])
