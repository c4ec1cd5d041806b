import re
from types import SimpleNamespace

import pytest
from chat_families import FAMILIES, family_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from ftool.model.tokens.pieces import find_cuts, split_pieces, tokenize

WORDS = ("refund", " ", "  ", "\n", "\n\n", "<", "|>", "é", "e\u0301", "ab", "<s>", "[INST]")
SPECIAL = tuple(sorted({str(token) for _, tokens, _, _ in FAMILIES.values() for token in tokens}))
TEXTS = st.lists(st.sampled_from(WORDS + SPECIAL) | st.text(max_size=3), max_size=12).map("".join)


def cuts_of(*added, known="<cut> more"):
    tokenizer = SimpleNamespace(
        is_fast=True,
        split_special_tokens=False,
        added_tokens_decoder=dict(enumerate((AddedToken("<cut>", normalized=False), *added))),
    )
    return find_cuts(tokenizer, known)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=40, deadline=None)
@given(text=TEXTS)
def test_the_pieces_have_the_token_ids_of_the_text(family, text):
    tokenizer = family_tokenizer(family)
    pieces = split_pieces(text, find_cuts(tokenizer, f"{FAMILIES[family]}"))
    assert "".join(pieces) == text
    ids_of = tokenize(tokenizer, pieces)
    joined = [token for piece in pieces for token in ids_of[piece]]
    assert joined == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_text_is_cut_in_front_of_the_special_tokens_that_are_known():
    tokenizer = family_tokenizer("chatml")
    cuts = find_cuts(tokenizer, tokenizer.chat_template)
    text = "a<|im_start|>user\nb<|endoftext|>c<|im_end|>\n"
    assert split_pieces(text, cuts) == ["a", "<|im_start|>user\nb<|endoftext|>c", "<|im_end|>\n"]
    assert split_pieces("", cuts) == split_pieces("", None) == []
    assert split_pieces(text, None) == [text]


@pytest.mark.parametrize(
    "other",
    [
        AddedToken("<cut>>", normalized=False),
        AddedToken("x<cut>", normalized=False),
        AddedToken("x<cu", normalized=False),
    ],
)
def test_nothing_is_cut_at_a_token_that_another_may_hide(other):
    assert cuts_of() == re.compile("(?=<cut>)")
    assert cuts_of(other) is None
    assert cuts_of(AddedToken("<other>", normalized=False)) == cuts_of()


@pytest.mark.parametrize("how", ["lstrip", "rstrip", "single_word", "normalized"])
def test_nothing_is_cut_at_a_token_that_depends_on_what_is_around_it(how):
    token = AddedToken("<odd>", **{"normalized": False} | {how: True})
    assert cuts_of(token, known="<odd>") is None


def test_nothing_is_cut_where_special_tokens_are_read_as_text():
    tokenizer = family_tokenizer("chatml")
    plain = SimpleNamespace(is_fast=True, split_special_tokens=True)
    slow = SimpleNamespace(is_fast=False)
    assert find_cuts(plain, "<cut>") is find_cuts(slow, "<cut>") is None
    assert find_cuts(tokenizer, "no token") is None


def test_equal_texts_are_tokenized_once():
    calls = []

    def tokenizer(texts, **options):
        calls.append(texts)
        return {"input_ids": [[len(text)] for text in texts]}

    assert tokenize(tokenizer, iter(["aa", "b", "aa"])) == {"aa": [2], "b": [1]}
    assert tokenize(tokenizer, []) == {}
    assert calls == [["aa", "b"]]
