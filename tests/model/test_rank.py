import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_gpt2, tiny_model
from transformers import Qwen2Config, Qwen2ForCausalLM

from ftool.model.rank import rank_labels

END = 2


def qwen2():
    torch.manual_seed(1)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=300,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    ).eval()


def brute_force(model, prompt, labels):
    """Score every label by one full row, the slow and obvious way."""
    scores = []
    for label in labels:
        ids = torch.tensor([[*prompt, *label]])
        with torch.inference_mode():
            logits = model(ids).logits[0].log_softmax(-1)
        scores.append(sum(logits[len(prompt) + i - 1, t].item() for i, t in enumerate(label)))
    return scores


LABEL_SETS = st.lists(
    st.lists(st.integers(3, 8), min_size=1, max_size=4).map(tuple),
    min_size=1,
    max_size=8,
    unique=True,
)
PROMPTS = st.lists(st.lists(st.integers(3, 299), min_size=1, max_size=12), min_size=1, max_size=5)


@pytest.mark.parametrize("make_model", [tiny_model, tiny_gpt2, qwen2])
@settings(max_examples=25, deadline=None)
@given(labels=LABEL_SETS, prompts=PROMPTS, beginning=st.lists(st.integers(3, 299), max_size=6))
def test_ranking_equals_brute_force(make_model, labels, prompts, beginning):
    """Label sets hold labels that begin others, for they are short and of few tokens."""
    model = make_model()
    prompts = [beginning + prompt for prompt in prompts]
    ended = [[*label, END] for label in labels]
    rankings = rank_labels(model, prompts, ended, batch_size=2)
    for prompt, ranking in zip(prompts, rankings, strict=True):
        scores = brute_force(model, prompt, ended)
        assert ranking.log_probability == pytest.approx(max(scores), abs=1e-4)
        assert scores[ranking.label] == pytest.approx(max(scores), abs=1e-4)


def test_batch_size_and_order_do_not_matter():
    model = tiny_model()
    prompts = [[5, 6], [7, 8, 9, 10], [11], [12, 13, 14]]
    labels = [[20, 21, END], [20, END], [22, 23, 24, END]]
    alone = rank_labels(model, prompts, labels, batch_size=1)
    together = rank_labels(model, prompts[::-1], labels, batch_size=4)[::-1]
    assert [r.label for r in alone] == [r.label for r in together]
    for one, other in zip(alone, together, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-5)


def test_the_prompt_runs_once_and_no_label_gets_a_row_of_its_own():
    model = tiny_model()
    tokens = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: tokens.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    labels = [[20 + i, 40 + i, END] for i in range(20)]
    rank_labels(model, [[5] * 30], labels)
    assert tokens[0] == 30
    assert sum(tokens[1:]) <= 2 * 2 * len(labels)
    assert 30 not in tokens[1:]


def test_labels_of_the_same_tokens_are_refused():
    with pytest.raises(ValueError, match="same tokens"):
        rank_labels(tiny_model(), [[5]], [[20, END], [20, END]])
