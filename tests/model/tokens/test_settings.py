import copy

import pytest
from chat_families import family_tokenizer
from jinja2 import Environment, TemplateError
from tiny import CHAT_TEMPLATE, tiny_tokenizer

from ftool.errors import RecipeError
from ftool.model.tokens.encode import make_encoder
from ftool.model.tokens.settings import (
    apply_settings,
    names_read,
    reads_date,
    switches_of,
    template_of_day,
)

KEY = "model.template_settings"
ASKED = [{"role": "user", "content": "q"}]


def reading(text):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = text
    return tokenizer


def written(tokenizer, **settings):
    return tokenizer.apply_chat_template(
        ASKED, tokenize=False, add_generation_prompt=True, **settings
    )


@pytest.mark.parametrize(
    "value", [True, False, None, 0, 1.5, "low", 'two\nlines "quoted" {{ x }} é', ["a", 1, None]]
)
def test_a_setting_written_into_the_template_is_the_one_that_is_passed(value):
    passed = reading("{{ effort }}|{{ effort is none }}|" + CHAT_TEMPLATE)
    stored = reading(passed.chat_template)
    apply_settings(stored, {"effort": value}, key=KEY)
    assert written(stored) == written(passed, effort=value)


def test_whoever_passes_another_value_gets_it_and_the_last_default_counts():
    tokenizer = reading("{{ effort }}" + CHAT_TEMPLATE)
    apply_settings(tokenizer, {"effort": "low"}, key=KEY)
    assert written(tokenizer, effort="high").startswith("high<|im_start|>")
    apply_settings(tokenizer, {"effort": "none"}, key=KEY)
    assert written(tokenizer).startswith("none<|im_start|>")


@pytest.mark.parametrize("begins", ["  {% if true %}x{% endif %}", "\n{{ effort }}", "{# c #}\n"])
def test_the_beginning_of_a_template_stays_as_it_was(begins):
    text = begins + "{% set other = effort %}" + CHAT_TEMPLATE
    stored, passed = reading(text), reading(text)
    apply_settings(stored, {"effort": 1}, key=KEY)
    assert written(stored) == written(passed, effort=1)


def test_a_setting_that_no_template_reads_is_refused_with_the_nearest_name():
    tokenizer = family_tokenizer("reasoning")
    with pytest.raises(RecipeError, match=r"enable_thinkin: .*did you mean `enable_thinking`"):
        apply_settings(tokenizer, {"enable_thinkin": False}, key=KEY)
    with pytest.raises(RecipeError, match="does not read it"):
        apply_settings(tiny_tokenizer(), {"enable_thinking": False}, key=KEY)


def test_every_named_template_gets_the_settings():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = {
        "default": "{{ effort }}" + CHAT_TEMPLATE,
        "tool_use": "tools {{ effort }}" + CHAT_TEMPLATE,
    }
    apply_settings(tokenizer, {"effort": 3}, key=KEY)
    assert written(tokenizer).startswith("3<")
    assert written(tokenizer, tools=[{"a": 1}]).startswith("tools 3<")


def test_what_a_renderer_gives_anyway_is_no_setting():
    assert names_read("{{ messages }}{{ tools }}{{ raise_exception('x') }}{{ mode }}") == {"mode"}
    with pytest.raises(RecipeError, match="cannot be read"):
        names_read("{% if %}")


def test_switches_are_those_that_are_read_and_not_taken():
    tokenizer = family_tokenizer("reasoning")
    assert switches_of(tokenizer, ()) == ["enable_thinking"]
    assert switches_of(tokenizer, {"enable_thinking": True}) == []
    assert switches_of(tiny_tokenizer(), ()) == []


def test_the_day_stands_still_wherever_a_template_asks_for_it():
    text = (
        "{% macro day() %}{{ strftime_now('%Y-%m-%d') }}{% endmacro %}"
        '{% set other = strftime_now("%d %b %Y") %}{{ day() }} {{ other }}'
    )
    tokenizer = reading(text)
    assert reads_date(tokenizer) and not reads_date(tiny_tokenizer())
    dated = template_of_day(tokenizer, "2024-02-29", has_tools=False)
    assert Environment().from_string(dated).render().strip() == "2024-02-29 29 Feb 2024"


def on_leap_day(text):
    """Render as transformers does, on the 29th of February 2024."""
    tokenizer = reading(text)
    tokenizer.chat_template = template_of_day(tokenizer, "2024-02-29", has_tools=False)
    return written(tokenizer).strip()


@pytest.mark.parametrize(
    "text",
    [
        "{{ strftime_now('%d %B %Y') }}",
        "{{ strftime_now(format='%d %B %Y') }}",
        "{% set f = '%d %B %Y' %}{{ strftime_now(f) }}",
        "{% set f = '%Y' if tools else '%d %B %Y' %}{{ strftime_now(f) }}",
        "{% macro on(f='%d %B %Y') %}{{ strftime_now(f) }}{% endmacro %}{{ on() }}",
        "{% set f = {'long': '%d %B %Y'} %}{{ strftime_now(f.long) }}",
        "{{ strftime_now('%d %B %Y' | trim) }}",
        "{% set now = strftime_now %}{{ now('%d %B %Y') }}",
        "{% if strftime_now is defined %}{{ strftime_now('%d %B %Y') }}{% endif %}",
        "{% for f in ['%d %B', '%Y'] %}{{ strftime_now(f) ~ ' ' }}{% endfor %}",
    ],
)
def test_the_day_is_known_in_every_format_however_it_is_passed(text):
    assert on_leap_day(text) == "29 February 2024"


@pytest.mark.parametrize(
    "text", ["{{ strftime_now('%d' ~ ' %B') }}", "{{ strftime_now(messages[0].content) }}"]
)
def test_a_format_that_is_put_together_is_refused_by_name_and_never_empty(text):
    with pytest.raises(TemplateError, match="strftime_now"):
        on_leap_day(text)
    with pytest.raises(RecipeError, match=r"model\.chat_template: .*strftime_now"):
        make_encoder(reading(text + CHAT_TEMPLATE), date="2024-02-29")


@pytest.mark.parametrize("value", [True, False, None, "a %} b", ["x", 1]])
def test_a_switch_that_was_written_into_the_template_is_set(value):
    tokenizer = reading("{{ effort }}" + family_tokenizer("reasoning").chat_template)
    apply_settings(tokenizer, {"effort": value}, key=KEY)
    assert switches_of(tokenizer, ()) == ["enable_thinking"]
    apply_settings(tokenizer, {"enable_thinking": value, "effort": value}, key=KEY)
    assert switches_of(tokenizer, ()) == []
    apply_settings(tokenizer, {"effort": value}, key=KEY)
    assert switches_of(tokenizer, ()) == []


@pytest.mark.parametrize(
    "begins",
    [
        "{% if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}\n",
        "text\n{%- if enable_thinking is not defined %}{%- set enable_thinking = true %}"
        "{%- endif %}\n",
    ],
)
def test_a_default_of_the_templates_own_leaves_a_switch_free(begins):
    tokenizer = reading(begins + family_tokenizer("reasoning").chat_template)
    assert switches_of(tokenizer, ()) == ["enable_thinking"]


@pytest.mark.parametrize("value", [True, False])
def test_what_a_saved_template_was_given_is_not_chosen_anew(value):
    saved = copy.deepcopy(family_tokenizer("reasoning"))
    apply_settings(saved, {"enable_thinking": value}, key=KEY)
    template = saved.chat_template
    assert make_encoder(saved, fixed=()).chosen == {} and saved.chat_template == template
