import torch
from tiny import tiny_model, tiny_tokenizer

from ftool.model.answers import generate as generation
from ftool.model.answers.generate import generated_batches

PROMPTS = [[40, 41, 42, 43, 44], [50], [60, 61, 62]]


def generate(model, batch_size=16, end_id=2):
    found = {}
    for batch in generated_batches(
        model,
        tiny_tokenizer(),
        PROMPTS,
        end_id=end_id,
        max_new_tokens=6,
        batch_size=batch_size,
    ):
        found.update(batch)
    return [found[index] for index in range(len(PROMPTS))]


def test_the_batch_does_not_change_the_text():
    model = tiny_model()
    assert generate(model) == generate(model, batch_size=1)


def test_batches_hold_a_bounded_number_of_tokens(monkeypatch):
    monkeypatch.setattr(generation, "BATCH_TOKENS", 6)
    model, tokenizer = tiny_model(), tiny_tokenizer()
    batches = list(generated_batches(model, tokenizer, PROMPTS, end_id=2, max_new_tokens=6))
    assert [list(batch) for batch in batches] == [[1, 2], [0]]
    assert {place: text for batch in batches for place, text in batch.items()} == dict(
        enumerate(generate(model))
    )
    left = generated_batches(model, tokenizer, PROMPTS, end_id=2, max_new_tokens=6, known={1, 2})
    assert list(left) == [batches[1]]


def test_generation_is_greedy_and_ends_at_the_end_token():
    model, tokenizer = tiny_model(), tiny_tokenizer()
    ids = torch.tensor([PROMPTS[0]])
    answer = []
    for _ in range(6):
        token = int(model(ids).logits[0, -1].argmax())
        answer.append(token)
        ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    assert generate(model)[0] == tokenizer.decode(answer, skip_special_tokens=True)
    end = answer[3]
    expected = answer[: answer.index(end)]
    ended = generate(model, end_id=end)[0]
    assert ended == tokenizer.decode(expected, skip_special_tokens=True)
