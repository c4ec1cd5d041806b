"""A tiny random model, its tokenizer and support tickets, built on the spot."""

import csv
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from ftool.prepare.run import prepare
from ftool.recipe.file import load_recipe
from ftool.recipe.schema import Recipe

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LABELS = ("refund", "refund_status", "delivery")
PHRASES = {
    "refund": ("money back", "want a refund", "pay me back", "return my payment"),
    "refund_status": ("where is my refund", "refund still missing", "refund not seen"),
    "delivery": ("parcel is late", "where is my box", "courier never came", "not delivered"),
}


def tiny_tokenizer(*, bos: bool = False) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer of 300 tokens with a ChatML template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([p for phrases in PHRASES.values() for p in phrases], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|endoftext|>" if bos else None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def tiny_model(*, seed: int = 0, vocabulary: int = 300, **settings: Any) -> LlamaForCausalLM:
    """Return a two-layer random Llama with 64 thousand weights, on the CPU, in float32."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
        **settings,
    )
    return LlamaForCausalLM(config).eval()


def tiny_gpt2() -> GPT2LMHeadModel:
    """Return a two-layer random GPT-2, whose positions are learned."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=300, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    return GPT2LMHeadModel(config).eval()


def tiny_of(config: type[PretrainedConfig], **settings: Any) -> Any:
    """Return a two-layer random model of another architecture."""
    torch.manual_seed(0)
    made = config(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        **settings,
    )
    return AutoModelForCausalLM.from_config(made).eval()


def windowed_model() -> MistralForCausalLM:
    """Return a Mistral that sees only the last four tokens."""
    return tiny_of(MistralConfig, sliding_window=4)


def save_tiny_base(folder: Path, **settings: Any) -> Path:
    """Write a tiny base model that `from_pretrained` opens."""
    tokenizer = tiny_tokenizer()
    tiny_model(vocabulary=len(tokenizer), **settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_tickets(path: Path, *, count: int = 60) -> Path:
    """Write distinct labelled tickets as CSV, labels in turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["message", "intent", "customer"])
        for number in range(count):
            label = LABELS[number % len(LABELS)]
            phrases = PHRASES[label]
            text = f"{phrases[number // len(LABELS) % len(phrases)]}, order {number}"
            writer.writerow([text, label, f"customer-{number // 2}"])
    return path


def write_recipe(folder: Path, *, base: Path, extra: str = "") -> Path:
    """Write a recipe of two quick epochs on the tickets."""
    path = folder / "recipe.yaml"
    path.write_text(
        f"""name: tiny
model: {{base: {base}}}
data:
  sources: [{{path: tickets.csv, columns: {{prompt: message, label: intent}}}}]
  system: Name the intent.
  split: {{validation: 0.2, test: 0.2}}
train:
  method: {{kind: lora, r: 4, alpha: 8}}
  epochs: 2
  learning_rate: 1.0e-2
  global_batch_size: 8
{extra}""",
        encoding="utf-8",
    )
    return path


def make_project(folder: Path, *, extra: str = "", count: int = 60) -> Recipe:
    """Write base, tickets and recipe into a folder, prepare the data, return the recipe."""
    base = save_tiny_base(folder / "base")
    write_tickets(folder / "tickets.csv", count=count)
    recipe = load_recipe(write_recipe(folder, base=base, extra=extra))
    prepare(recipe, output=folder / "data")
    return recipe


def recipe_of(project: Path, *overrides: str) -> Recipe:
    """Return the recipe of a project with some settings replaced."""
    return load_recipe(project / "recipe.yaml", overrides)
