import pytest
import torch
from tiny import tiny_gpt2, tiny_model, windowed_model

from ftool.model.answers import label_scores
from ftool.model.answers.label_scores import scores_in_full, scores_of_copies

END = 2
PROMPT = [5, 9, 30, 7, 11, 12, 60]
LABELS = [(20, END), (20, 21, 22, 23, END), (24, END), (21, 20, END)]


def plain(model, prompt, label):
    """Score one label by one row, and generate greedily as many tokens as it has."""
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *label]])).logits[0].log_softmax(-1)
        made = list(prompt)
        for _ in label:
            made.append(int(model(torch.tensor([made])).logits[0, -1].argmax()))
    start = len(prompt) - 1
    score = sum(logits[start + place, token].item() for place, token in enumerate(label))
    return score, tuple(made[len(prompt) :]) == label


@pytest.mark.parametrize("make_model", [tiny_model, tiny_gpt2, windowed_model])
@pytest.mark.parametrize("score", [scores_in_full, scores_of_copies])
@pytest.mark.parametrize("prompt", [PROMPT, PROMPT[:1]])
def test_labels_are_scored_as_one_row_each(make_model, score, prompt, monkeypatch):
    model = make_model()
    with torch.inference_mode():
        made = list(prompt)
        for _ in range(3):
            made.append(int(model(torch.tensor([made])).logits[0, -1].argmax()))
    labels = [*LABELS, tuple(made[len(prompt) :])]
    monkeypatch.setattr(label_scores, "ROWS", 2)
    found = score(model, prompt, labels)
    expected = [plain(model, prompt, label) for label in labels]
    assert [one for one, _ in found] == pytest.approx([one for one, _ in expected], abs=1e-4)
    assert [is_greedy for _, is_greedy in found] == [is_greedy for _, is_greedy in expected]
    assert found[-1][1]
