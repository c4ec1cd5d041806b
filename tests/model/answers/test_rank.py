import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_gpt2, tiny_model, tiny_tokenizer, windowed_model
from transformers import Qwen2Config, Qwen2ForCausalLM

from ftool.example import Example, Message
from ftool.model.answers import rank
from ftool.model.answers.rank import METHODS, rank_labels, ranked_batches, ranking_method
from ftool.model.answers.search import CERTAIN, NO_LABEL
from ftool.model.tokens.encode import make_encoder

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


MODELS = [tiny_model(), tiny_gpt2(), qwen2()]


def sharpened():
    """Return a model that is surer of its tokens than random weights are."""
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.mul_(40)
    return model


def brute_force(model, prompt, labels):
    """Score every label by one full row, the slow and obvious way."""
    scores = []
    for label in labels:
        ids = torch.tensor([[*prompt, *label]])
        with torch.inference_mode():
            logits = model(ids).logits[0].log_softmax(-1)
        scores.append(sum(logits[len(prompt) + i - 1, t].item() for i, t in enumerate(label)))
    return scores


def generated(model, prompt, labels):
    """Return the label that greedy generation gives, token by token."""
    made, longest = list(prompt), max(map(len, labels))
    for _ in range(longest):
        with torch.inference_mode():
            made.append(int(model(torch.tensor([made])).logits[0, -1].argmax()))
        if made[len(prompt) :] in labels:
            return labels.index(made[len(prompt) :])
    return NO_LABEL


LABEL_SETS = st.lists(
    st.lists(st.integers(3, 8), min_size=1, max_size=4).map(tuple),
    min_size=1,
    max_size=8,
    unique=True,
)
PROMPTS = st.lists(st.lists(st.integers(3, 299), min_size=1, max_size=12), min_size=1, max_size=5)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.config.model_type)
@settings(max_examples=20, deadline=None)
@given(
    labels=LABEL_SETS,
    prompts=PROMPTS,
    beginning=st.lists(st.integers(3, 299), max_size=6),
    certain=st.booleans(),
)
def test_ranking_equals_brute_force(model, labels, prompts, beginning, certain):
    """Label sets hold labels that begin others, for they are short and of few tokens."""
    prompts = [beginning + prompt for prompt in prompts]
    ended = [[*label, END] for label in labels]
    rankings = rank_labels(model, prompts, ended, batch_size=2, certain=certain)
    for prompt, ranking in zip(prompts, rankings, strict=True):
        scores = brute_force(model, prompt, ended)
        assert ranking.log_probability == pytest.approx(max(scores), abs=1e-4)
        assert scores[ranking.label] == pytest.approx(max(scores), abs=1e-4)
        mass = sum(map(math.exp, scores))
        low, high = ranking.probability_bounds
        assert low - 1e-4 <= math.exp(max(scores)) / mass <= high + 1e-4
        low_off, high_off = ranking.off_label_bounds
        assert low_off - 1e-5 <= 1 - mass <= high_off + 1e-5
        assert high - low <= CERTAIN or not certain


def test_the_greedy_answer_is_that_of_generation():
    model = sharpened()
    prompts = [[5, 6, number] for number in range(3, 40)]
    with torch.inference_mode():
        logits = [model(torch.tensor([prompt])).logits[0, -1] for prompt in prompts]
        starts = sorted({int(row.argmax()) for row in logits})
        ends = [
            int(model(torch.tensor([[*prompts[0], start]])).logits[0, -1].argmax())
            for start in starts
        ]
    labels = [[start, end] for start, end in zip(starts, ends, strict=True)]
    labels += [[start, end, 40] for start, end in zip(starts, range(200, 300), strict=False)]
    expected = [generated(model, prompt, labels) for prompt in prompts]
    assert NO_LABEL in expected and len(set(expected)) > 2
    for method in METHODS:
        rankings = rank_labels(model, prompts, labels, method=method)
        assert [ranking.greedy for ranking in rankings] == expected


UNICODE = ("Rückerstattung", "Rückerstattung offen", "配送", "配送が遅い", "🙂", "é", "e\u0301")


def test_labels_of_any_script_are_told_apart():
    model, encoder = tiny_model(), make_encoder(tiny_tokenizer())
    asked = [Example(text, (Message("user", text), Message("assistant", "x"))) for text in UNICODE]
    labels = [encoder.completion(asked[0], name) for name in UNICODE]
    prompts = [encoder.prompt(example) for example in asked]
    for prompt, ranking in zip(prompts, rank_labels(model, prompts, labels), strict=True):
        scores = brute_force(model, prompt, labels)
        assert scores[ranking.label] == pytest.approx(max(scores), abs=1e-4)


def test_batch_size_and_order_do_not_matter():
    model = tiny_model()
    prompts = [[5, 6], [7, 8, 9, 10], [11], [12, 13, 14]] * 9
    labels = [[20, 21, END], [20, END], [22, 23, 24, END]]
    alone = rank_labels(model, prompts, labels, batch_size=1)
    together = rank_labels(model, prompts[::-1], labels, batch_size=32)[::-1]
    assert [r.label for r in alone] == [r.label for r in together]
    assert [r.greedy for r in alone] == [r.greedy for r in together]
    for one, other in zip(alone, together, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-5)


def test_batches_hold_a_bounded_number_of_tokens(monkeypatch):
    monkeypatch.setattr(rank, "BATCH_TOKENS", 11)
    prompts = [[5], [6, 7, 8, 9, 10, 11], [6, 7, 8, 9, 10], [9, 5]]
    batches = [list(batch) for batch in ranked_batches(tiny_model(), prompts, [[20, END]])]
    assert batches == [[0, 3], [2], [1]]


def test_batches_of_known_prompts_are_left_out_and_the_others_keep_every_bit(monkeypatch):
    monkeypatch.setattr(rank, "BATCH_TOKENS", 11)
    prompts = [[5], [6, 7, 8, 9, 10, 11], [6, 7, 8, 9, 10], [9, 5]]
    model, labels = tiny_model(), [[20, END], [21, END]]
    every = list(ranked_batches(model, prompts, labels))
    assert list(ranked_batches(model, prompts, labels, known={0, 2})) == [every[0], every[2]]
    assert list(ranked_batches(model, prompts, labels, known={0, 2, 3})) == [every[2]]
    slowly = list(ranked_batches(model, prompts, labels, known={0, 2}, method="full rows"))
    assert [list(batch) for batch in slowly] == [[1], [3]]


def test_the_prompt_runs_once_and_no_label_gets_a_row_of_its_own():
    model = tiny_model()
    tokens = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: tokens.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    labels = [[20 + i, 40 + i, END] for i in range(20)]
    prompts = [[5] * 30 + [6], [5] * 30 + [7, 8]]
    rank_labels(model, prompts, labels)
    assert tokens[:2] == [30, 3]
    assert sum(tokens[2:]) <= len(prompts) * 2 * len(labels)


def test_what_cannot_win_is_not_run():
    model, fed = sharpened(), []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: fed.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    labels = [[first, second, END] for first in range(20, 50) for second in range(50, 60)]
    rank_labels(model, [[5, 6, 7]], labels)
    assert sum(fed[1:]) < 0.4 * (30 + 300)


def test_labels_of_the_same_tokens_are_refused():
    with pytest.raises(ValueError, match="same tokens"):
        rank_labels(tiny_model(), [[5]], [[20, END], [20, END]])


PROMPT_PAIR = ([5, 6, 7, 8, 9, 10, 11], [5, 6, 12])
THREE = [[20, 21, END], [20, END], [22, 23, 24, END]]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.config.model_type)
def test_usual_architectures_are_ranked_on_the_trie(model):
    assert ranking_method(model, PROMPT_PAIR, THREE) == "trie"


def test_windowed_attention_is_ranked_from_copied_caches():
    model = windowed_model()
    assert ranking_method(model, PROMPT_PAIR, THREE) == "copied caches"
    for method in METHODS[1:]:
        rankings = rank_labels(model, PROMPT_PAIR, THREE, method=method)
        for prompt, ranking in zip(PROMPT_PAIR, rankings, strict=True):
            scores = brute_force(model, prompt, THREE)
            assert ranking.label == scores.index(max(scores))
            assert ranking.log_probability == pytest.approx(max(scores), abs=1e-4)
            mass = sum(map(math.exp, scores))
            low, high = ranking.probability_bounds
            assert low == high == pytest.approx(math.exp(max(scores)) / mass, abs=1e-4)
            assert ranking.off_label_bounds == pytest.approx((1 - mass, 1 - mass), abs=1e-5)


def test_a_model_whose_cache_is_wrong_is_ranked_in_full_rows():
    class NoCache(type(tiny_model())):
        def forward(self, input_ids, past_key_values=None, **settings):
            return super().forward(input_ids, **{**settings, "use_cache": False})

    torch.manual_seed(0)
    model = NoCache(tiny_model(attn_implementation="eager").config).eval()
    model.set_attn_implementation = lambda name: None
    assert ranking_method(model, PROMPT_PAIR, THREE) == "full rows"


def test_a_wrong_likelihood_is_noticed(monkeypatch):
    model = tiny_model()

    def shifted(*given):
        return [(score - 0.5, greedy) for score, greedy in scores(*given)]

    scores = rank.scores_in_full
    monkeypatch.setattr(rank, "scores_in_full", shifted)
    assert ranking_method(model, PROMPT_PAIR, THREE) == "full rows"
