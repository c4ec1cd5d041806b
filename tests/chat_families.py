"""Tokenizers and chat templates in the ways of well-known families, tiny, built on the spot."""

from functools import cache
from typing import Any

from tiny import CHAT_TEMPLATE, PHRASES
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}"
    "{% elif m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
QWEN = (
    "{% if tools %}<|im_start|>system\n# Tools{% for tool in tools %}\n{{ tool | tojson }}"
    "{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}"
    "{% if m['role'] == 'tool' %}<|im_start|>user\n<tool_response>\n{{ m['content'] }}\n"
    "</tool_response><|im_end|>\n"
    "{% else %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% for call in m.get('tool_calls', []) %}{% if m['content'] or not loop.first %}\n{% endif %}"
    "<tool_call>\n{{ call['function'] | tojson }}\n</tool_call>{% endfor %}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'] if loop.last else m['content'].split('</think>')[-1] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PHI = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
# Roles alternate, and there is no other.
STRICT = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Thinks unless told not to, and forgets what it thought before the last question.
REASONING = (
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.index0 > ns.last %}<think>\n"
    "{{ m.get('reasoning_content', '') }}\n</think>\n\n{% endif %}{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% endif %}{% endif %}"
)
# Opens the reasoning in the prompt, and never writes any.
OPENING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'].split('</think>')[-1] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
# Closes in the prompt what it writes nowhere else.
CLOSING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<|channel>thought\n<channel|>{% endif %}"
)
# Ends a message otherwise once another follows.
UNSTEADY = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% if not loop.last %}\n{% endif %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# The answer has a channel and, as the last one, another end; the day is told.
CHANNELS = (
    "{% macro head() %}<|start|>system<|message|>{{ strftime_now('%Y-%m-%d') }}<|end|>"
    "{% endmacro %}{{ head() }}{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{% if 'thinking' in m and loop.last %}<|start|>assistant<|channel|>analysis<|message|>"
    "{{ m['thinking'] }}<|end|>{% endif %}"
    "{% if m.get('tool_calls') %}<|start|>assistant to={{ m['tool_calls'][0]['function']['name'] }}"
    "<|message|>{{ m['tool_calls'][0]['function']['arguments'] | tojson }}<|call|>"
    "{% else %}<|start|>assistant<|channel|>final<|message|>{{ m['content'] }}"
    "{% if loop.last and not add_generation_prompt %}<|return|>{% else %}<|end|>{% endif %}"
    "{% endif %}{% elif m['role'] != 'tool' %}<|start|>{{ m['role'] }}<|message|>"
    "{{ m['content'] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
# Writes the words of user and assistant, and nothing else.
MUTE = (
    "{% for m in messages %}{% if m['role'] in ('user', 'assistant') %}"
    "<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Wants the arguments of calls as text, and has no tools to describe.
QUOTING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% for call in m.get('tool_calls', []) %}"
    "{{ 'call ' + call['function']['name'] + ' ' + call['function']['arguments'] }}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Writes the user's words as JSON that knows ASCII alone.
ESCAPING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'] | tojson(ensure_ascii=True) if m['role'] == 'user' else m['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# The system message stands in front of the last words of the user.
LAST_SYSTEM = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set system = messages[0]['content'] %}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}"
    "{% if m['role'] == 'user' %}[INST] {% if loop.last and system is defined %}{{ system }}\n\n"
    "{% endif %}{{ m['content'] }}[/INST]{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)
# What is given ends in `re`, which grows together with an answer that begins with `fund`.
SEAMLESS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }} re{{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant re{% endif %}"
)
IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
HARMONY = (
    "<|endoftext|>",
    "<|start|>",
    "<|end|>",
    "<|message|>",
    "<|channel|>",
    "<|call|>",
    "<|return|>",
)
_PHI = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
FAMILIES: dict[str, tuple[str, tuple[str | AddedToken, ...], str | None, str]] = {
    "chatml": (CHAT_TEMPLATE, IM, None, "<|im_end|>"),
    "llama": (
        LLAMA,
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|begin_of_text|>",
        "<|eot_id|>",
    ),
    "mistral": (MISTRAL, ("<s>", "</s>"), "<s>", "</s>"),
    "gemma": (
        GEMMA,
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "\n", "\n\n", "\n\n\n"),
        "<bos>",
        "<eos>",
    ),
    "qwen": (
        QWEN,
        (*IM, AddedToken("<tool_call>", normalized=False), AddedToken("</tool_call>")),
        None,
        "<|im_end|>",
    ),
    "thinking": (THINKING, IM, None, "<|im_end|>"),
    "strict": (STRICT, IM, None, "<|im_end|>"),
    "reasoning": (REASONING, (*IM, "<think>", "</think>"), None, "<|im_end|>"),
    "opening": (OPENING, IM, None, "<|im_end|>"),
    "closing": (CLOSING, IM, None, "<|im_end|>"),
    "unsteady": (UNSTEADY, IM, None, "<|im_end|>"),
    "channels": (CHANNELS, HARMONY, None, "<|return|>"),
    "mute": (MUTE, IM, None, "<|im_end|>"),
    "quoting": (QUOTING, IM, None, "<|im_end|>"),
    "escaping": (ESCAPING, IM, None, "<|im_end|>"),
    "last_system": (LAST_SYSTEM, ("<s>", "</s>"), "<s>", "</s>"),
    "phi": (
        PHI,
        tuple(AddedToken(text, special=True, normalized=False, rstrip=True) for text in _PHI),
        None,
        "<|endoftext|>",
    ),
    # Its template leaves the start token to the tokenizer.
    "seamless": (
        SEAMLESS,
        (*IM, AddedToken("ab", single_word=True, normalized=False)),
        "<|endoftext|>",
        "<|im_end|>",
    ),
}
LEARNED = {
    "chatml": "{}<|im_end|>",
    "llama": "{}<|eot_id|>",
    "mistral": " {}</s>",
    "gemma": "{}<end_of_turn>",
}
"""What is learned of an answer, where the template writes it the same everywhere."""
TRIMS = ("llama", "mistral", "gemma")


@cache
def family_tokenizer(name: str) -> Any:
    """Return the tokenizer of a family; Mistral's marks spaces, the others know bytes."""
    template, special, bos, eos = FAMILIES[name]
    tokenizer = Tokenizer(models.BPE(byte_fallback=name == "mistral"))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if name == "mistral":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        tokenizer.decoder = decoders.Sequence(
            [decoders.ByteFallback(), decoders.Fuse(), decoders.Metaspace(prepend_scheme="first")]
        )
        special = (*special, *(f"<0x{byte:02X}>" for byte in range(256)))
        alphabet = list("▁abcdefghijklmnopqrstuvwxyz")
    else:
        tokenizer.normalizer = normalizers.NFC() if name == "gemma" else None
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=len(special) + len(alphabet) + 60,
        special_tokens=list(special),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        [*(text for texts in PHRASES.values() for text in texts), "assistant refund"], trainer
    )
    if bos:
        tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, pad_token=eos
    )
    fast.chat_template = template
    return fast
