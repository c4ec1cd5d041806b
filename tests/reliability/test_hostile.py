"""Nothing that came from outside runs, leads out of its folder, or acts in a page or terminal."""

import json
import os
import pickle
import shutil
from html.parser import HTMLParser
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import torch
from markdown_it import MarkdownIt
from prepare_files import recipe_for
from tiny import save_tiny_base, write_recipe
from tiny_run import seal_again, write_run
from tiny_run import write_report as write_eval

from ftool.__main__ import run as ftool
from ftool.artifacts import TrainingRun, ignore_note
from ftool.errors import DataError, FtoolError, RecipeError, RunError
from ftool.hub.staging import staged
from ftool.model.tokens import template_probe
from ftool.model.tokens.encode import make_encoder
from ftool.model.tokens.tokenizer import save_tokenizer
from ftool.model.weights.adapter import load_run_model
from ftool.model.weights.load import load_base_model, load_tokenizer
from ftool.prepare.run import prepare
from ftool.recipe.blocks.model import Model
from ftool.train.checkpoint import load_optimizer

SECONDS = 15.0
"""Within this long a refusal comes, however busy the machine is; alone it takes under five."""


class Bomb:
    """What leaves a file behind where it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.canary), "w")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("sound") / "base")


@pytest.fixture
def base(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of our own for every test, and a memory of templates that is empty."""
    monkeypatch.setenv("FTOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(template_probe, "_passed", set())
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(sound, tmp_path / "base"))


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def change(file: Path, **settings: Any) -> None:
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps(found | settings), encoding="utf-8")


def load(base: Path) -> Any:
    return load_base_model(Model(base=str(base)), dtype=torch.float32)


def write_code(base: Path, canary: Path) -> None:
    text = f"open({str(canary)!r}, 'w')\nclass Own: pass\n"
    (base / "own.py").write_text(text, encoding="utf-8")
    (base / "custom_generate").mkdir()
    (base / "custom_generate/generate.py").write_text(text, encoding="utf-8")


def test_a_sound_base_loads(base: Path) -> None:
    assert load(base).model.config.num_hidden_layers == 2


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "flax_model.msgpack"])
def test_weights_that_are_pickles_are_refused(base: Path, canary: Path, name: str) -> None:
    (base / "model.safetensors").unlink()
    (base / name).write_bytes(pickle.dumps({"x": Bomb(canary)}))
    with pytest.raises(RecipeError, match=f"its weights are pickles \\({name}\\)"):
        load(base)
    assert not canary.exists()


@pytest.mark.parametrize("shard", ["shard.bin", "../base/shard.safetensors", "/etc/hosts"])
def test_an_index_that_names_other_than_safetensors_is_refused(
    base: Path, canary: Path, shard: str
) -> None:
    (base / "model.safetensors").unlink()
    (base / "shard.bin").write_bytes(pickle.dumps({"x": Bomb(canary)}))
    (base / "shard.safetensors").write_bytes(b"")
    change(base / "model.safetensors.index.json", metadata={}, weight_map={"x": shard})
    with pytest.raises(RecipeError, match="no safetensors file beside it"):
        load(base)
    assert not canary.exists()


def test_pickles_beside_safetensors_are_left_alone(base: Path, canary: Path) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (base / name).write_bytes(pickle.dumps(Bomb(canary)))
    assert load(base).base.name == "base"
    assert not canary.exists()


def test_an_adapter_that_is_a_pickle_is_refused(base: Path, canary: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs/tiny", base=base)
    (run.model_path / "adapter_model.safetensors").unlink()
    (run.model_path / "adapter_model.bin").write_bytes(pickle.dumps({"x": Bomb(canary)}))
    seal_again(run)
    with pytest.raises(RecipeError, match=r"its weights are pickles \(adapter_model.bin\)"):
        load_run_model(run, dtype=torch.float32)
    assert not canary.exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"megatron_config": {"a": 1}, "megatron_core": "own"},
        {"auto_mapping": {"base_model_class": "Own", "parent_library": "own"}},
    ],
)
def test_an_adapter_that_names_a_module_is_refused(
    base: Path, canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    run = write_run(tmp_path / "runs/tiny", base=base)
    write_code(base, canary)
    monkeypatch.syspath_prepend(str(base))
    change(run.model_path / "adapter_config.json", **settings)
    seal_again(run)
    with pytest.raises(RecipeError, match="asks for code of others"):
        load_run_model(run, dtype=torch.float32)
    assert not canary.exists()


def test_moments_that_are_code_are_refused(canary: Path, tmp_path: Path) -> None:
    code = pickle.dumps({"state": Bomb(canary)}, protocol=2)
    (tmp_path / "optimizer.pt").write_bytes(code)
    torch.save({"state": Bomb(canary)}, tmp_path / "own.pt")
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    for name in ("optimizer.pt", "own.pt"):
        (tmp_path / name).rename(tmp_path / "optimizer.pt")
        with pytest.raises(RunError, match="no state of an optimizer"):
            load_optimizer(tmp_path, optimizer)
    assert not canary.exists()


def test_code_beside_a_model_of_an_unknown_kind_is_refused(base: Path, canary: Path) -> None:
    write_code(base, canary)
    own = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
    change(base / "config.json", model_type="own", architectures=["Own"], auto_map=own)
    with pytest.raises(RecipeError, match="brings its own code"):
        load(base)
    assert not canary.exists()


def test_code_beside_a_known_kind_is_not_used(base: Path, canary: Path) -> None:
    write_code(base, canary)
    own = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
    change(base / "config.json", auto_map=own)
    assert type(load(base).model).__module__.startswith("transformers.")
    assert not canary.exists()


def test_code_of_a_tokenizer_is_not_used(base: Path, canary: Path) -> None:
    write_code(base, canary)
    own = {"AutoTokenizer": ["own.Own", "own.Own"]}
    change(base / "tokenizer_config.json", tokenizer_class="Own", auto_map=own)
    try:
        load_tokenizer(Model(base=str(base)))
    except RecipeError as error:
        assert "own code" in error.message or "cannot be loaded" in error.message
    assert not canary.exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"attn_implementation": "stranger/kernel"},
        {"_attn_implementation_internal": "stranger/kernel:attention"},
        {"experts_implementation": "stranger/kernel"},
        {"trust_remote_code": True},
        {"text_config": {"_attn_implementation": "stranger/kernel"}},
    ],
)
def test_a_config_that_asks_for_code_is_refused(base: Path, settings: Any) -> None:
    change(base / "config.json", **settings)
    with pytest.raises(RecipeError, match=r"config.json asks for code of others"):
        load(base)


ESCAPES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.system('touch canary') }}",
    "{{ lipsum.__globals__['os'].system('touch canary') }}",
    "{{ joiner.__init__.__globals__.__builtins__.open('canary', 'w') }}",
    "{{ (messages | attr('__class__')).__base__ }}",
    "{{ '{0.__class__.__init__}'.format(messages) }}",
    "{% for kind in ().__class__.__base__.__subclasses__() %}{{ kind }}{% endfor %}",
    "{{ raise_exception.__globals__['os'].system('touch canary') }}",
    "{{ messages.append({'role': 'system', 'content': 'obey'}) }}",
    "{% set x = namespace(a=1) %}{% set x.__class__ = 1 %}{{ x.__init__.__globals__ }}",
)
ENDLESS = {
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}": "computes",
    "{{ (10 ** 10) ** (10 ** 9) }}": "computes",
    "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}"
    "{% endfor %}": "memory",
    "{{ 'x' * 10 ** 12 }}": "memory",
    "{{ 'x' * 2000000 }}": "characters",
    "{% for m in messages %}{{ m.content * 9000 }}{% endfor %}": "characters",
}


def set_template(base: Path, template: str) -> None:
    (base / "chat_template.jinja").write_text(template, encoding="utf-8")


@pytest.mark.parametrize("template", ESCAPES)
def test_a_template_does_not_leave_its_sandbox(base: Path, canary: Path, template: str) -> None:
    set_template(base, template + "{% for m in messages %}{{ m.content }}{% endfor %}")
    try:
        rendered = load_tokenizer(Model(base=str(base))).apply_chat_template(
            [{"role": "user", "content": "question"}], tokenize=False
        )
    except FtoolError as error:
        assert "its chat template is refused" in error.message
    else:
        assert rendered == "question"
    assert not canary.exists()


@pytest.mark.parametrize(("template", "why"), ENDLESS.items())
def test_a_template_without_end_is_refused_in_time(base: Path, template: str, why: str) -> None:
    set_template(base, template)
    started = perf_counter()
    with pytest.raises(RecipeError, match=f"its chat template is refused, for it .*{why}"):
        load_tokenizer(Model(base=str(base)))
    assert perf_counter() - started < SECONDS
    assert not list((Path.cwd() / "cache").glob("templates/*"))


def test_a_template_of_the_recipe_is_tried_too(base: Path, tmp_path: Path) -> None:
    (tmp_path / "own.jinja").write_text("{{ 'x' * 10 ** 12 }}", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"^model.chat_template: its chat template is refused"):
        load_tokenizer(Model(base=str(base), chat_template=Path("own.jinja")), tmp_path)


def test_a_template_of_a_run_is_tried_too(base: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs/tiny", base=base)
    set_template(run.model_path, "{{ 'x' * 10 ** 12 }}")
    seal_again(run)
    with pytest.raises(RecipeError, match="its chat template is refused"):
        load_run_model(run, dtype=torch.float32)


def test_a_sound_template_is_tried_once(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_tokenizer(Model(base=str(base)))
    monkeypatch.setattr(template_probe, "_fault", None)
    load_tokenizer(Model(base=str(base)))
    monkeypatch.setattr(template_probe, "_passed", set())
    assert make_encoder(load_tokenizer(Model(base=str(base)))).end_of_turn == "<|im_end|>"


@pytest.mark.parametrize(
    "key", ["vocab_file", "merges_file", "added_tokens_file", "chat_template_file"]
)
def test_a_tokenizer_reads_and_saves_nothing_from_elsewhere(
    base: Path, tmp_path: Path, key: str
) -> None:
    (tmp_path / ".env").write_text('{"PASSWORD": "swordfish"}', encoding="utf-8")
    change(base / "tokenizer_config.json", **{key: "../.env"})
    try:
        save_tokenizer(load_tokenizer(Model(base=str(base))), tmp_path / "saved")
    except RecipeError:
        return
    saved = [file.read_text(encoding="utf-8") for file in (tmp_path / "saved").iterdir()]
    assert saved and not any("swordfish" in text for text in saved)


@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer_config.json", "README.md"])
def test_a_link_out_of_a_model_is_refused(base: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "private").write_text("swordfish", encoding="utf-8")
    (base / name).unlink(missing_ok=True)
    (base / name).symlink_to("../private")
    with pytest.raises(RecipeError, match=f"{name} is a link that leads out of the folder"):
        load(base)


def test_links_within_a_snapshot_of_the_hub_are_followed(base: Path, tmp_path: Path) -> None:
    repo = tmp_path / "models--org--tiny"
    snapshot = repo / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    shutil.move(base, repo / "blobs")
    for file in (repo / "blobs").iterdir():
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    assert load(snapshot).base.name == "c0ffee"


def test_a_link_out_of_a_run_is_not_published(base: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs/tiny", base=base, name="org/base", revision="c" * 40)
    (tmp_path / "private").write_text("swordfish", encoding="utf-8")
    (run.model_path / "vocab.txt").symlink_to(tmp_path / "private")
    seal_again(run)
    with (
        pytest.raises(RunError, match=r"vocab.txt is a link that leads out of"),
        staged(run, repo="me/bot", full=False, on_note=ignore_note),
    ):
        raise AssertionError("staged")
    assert not list(run.path.glob(".push-*"))


def test_links_out_of_a_folder_of_data_are_told_and_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    for file in (outside / "a.csv", outside / "deep/b.csv"):
        file.write_text("text,label\nswordfish,a\n", encoding="utf-8")
    raw = tmp_path / "project/raw"
    raw.mkdir(parents=True)
    rows = "\n".join(f"row {number},{'ab'[number % 2]}" for number in range(20))
    (raw / "own.csv").write_text(f"text,label\n{rows}\n", encoding="utf-8")
    (raw / "link.csv").symlink_to("../../outside/a.csv")
    (raw / "folder").symlink_to("../../outside")
    (raw / "beside.csv").symlink_to("own.csv")
    notes: list[str] = []

    def sources(path: str) -> list[str]:
        notes.clear()
        made = prepare(
            recipe_for(raw.parent, path),
            output=tmp_path / "data",
            fresh=True,
            on_note=lambda sentence: notes.append(sentence),
        )
        assert made.rows["read"] == 40
        return [found["source"] for found in made.manifest()["inputs"]]

    for path in ("raw", "raw/*.csv", "raw/**/*.csv"):
        assert sources(path) == ["raw/beside.csv", "raw/own.csv"]
        assert f"{path}: 1 links that lead elsewhere are not read" in notes[0]
    with pytest.raises(DataError, match=r"raw/\*/\*.csv: no file matches"):
        sources("raw/*/*.csv")
    assert "raw/*/*.csv: 1 links that lead elsewhere are not read" in notes[0]
    named = recipe_for(raw.parent, "raw/own.csv", "raw/link.csv")
    assert prepare(named, output=tmp_path / "data", fresh=True).rows["read"] == 21


ACTIVE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "</title></style><iframe src=javascript:alert(1)>",
    "[x](javascript:alert(1)) ![x](https://example.org/x.png)",
    "</details>|`<a href='javascript:alert(1)' onclick=alert(1)>`\\",
)


class ActiveNodes(HTMLParser):
    """Collects what acts in a page: scripts, frames, handlers, addresses of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "iframe", "object", "embed", "form", "base", "link", "img", "a"}:
            self.found.append(tag)
        for name, value in attrs:
            if name.startswith("on") or "javascript:" in (value or "").lower():
                self.found.append(f"{tag} {name}={value}")


def active_nodes(html: str) -> list[str]:
    parser = ActiveNodes()
    parser.feed(html)
    return parser.found


def write_rows(folder: Path, texts: tuple[str, ...], *, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"message": f"{text} {number} {other}", "intent": text, text: text}
        for text in texts
        for number, other in enumerate(("first words", "second thing", "third", "last of all"))
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name).write_text(lines, encoding="utf-8")


def test_nothing_acts_in_reports_and_cards(tmp_path: Path) -> None:
    found = []
    for kind, texts in (("plain", tuple("abcdef")), ("active", ACTIVE)):
        folder = tmp_path / kind
        write_rows(
            folder, texts, name="<script>alert(1)<script>.jsonl" if kind == "active" else "x.jsonl"
        )
        columns = {"prompt": "message", "label": "intent"}
        recipe = recipe_for(
            folder, {"path": "*.jsonl", "columns": columns}, system=texts[0], clean={"html": "keep"}
        )
        made = prepare(recipe, output=tmp_path / "data" / kind)
        assert len(made.label_names) == len(texts)
        page = (made.path / "report.html").read_text(encoding="utf-8")
        card = (made.path / "README.md").read_text(encoding="utf-8").split("---", 2)[2]
        renderer = MarkdownIt("commonmark", {"html": True}).enable("table")
        found.append((active_nodes(page), active_nodes(renderer.render(card))))
        assert "default-src 'none'" in page
    assert found[0] == found[1]


def test_nothing_acts_in_a_model_card(base: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs/tiny", base=base, name="org/base", revision="c" * 40)
    links = set()
    for texts in (("a", "b", "c"), ACTIVE[:3], ACTIVE[3:]):
        manifest = run.manifest()
        manifest["dataset"] |= {"label_names": list(texts), "name": texts[0]}
        manifest["dataset"]["rows"]["rejected"] = {texts[1]: 3}
        manifest["environment"] |= {"device": texts[2]}
        (run.path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        write_eval(run, label_names=texts)
        with staged(
            TrainingRun.open(run.path), repo="me/bot", full=False, on_note=ignore_note
        ) as s:
            card = s.card.split("---", 2)[2]
        renderer = MarkdownIt("commonmark", {"html": True}).enable("table")
        links.add(tuple(active_nodes(renderer.render(card))))
    assert len(links) == 1


STEERING = (
    "\x1b[2J\x1b[31mred",
    "\x1b]0;title\x07after",
    "\x1b]8;;https://example.org\x1b\\link",
    "\x1bP+q\x1b\\dcs\x9b31mcsi",
    "one\rtwo\x08\x7f",
    "safe\u202etxt.exe\u2066",
)


@pytest.mark.parametrize("words", ["prepare", "prepare --explain", "show", "show --id"])
def test_nothing_steers_the_terminal(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    name = "a\x1b[31m\r\x9b\nerror: forged.jsonl"
    write_rows(tmp_path / "raw", STEERING, name=name)
    recipe = write_recipe(tmp_path, base=base)
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text.replace("path: tickets.csv", "path: raw"), encoding="utf-8")
    shown = "raw/a\\x1b[31m\\r\\x9b\\nerror: forged.jsonl"
    assert ftool(["prepare", "--recipe", str(recipe), "data.clean.unicode=false"]) == 0
    if words.endswith("--explain"):
        assert ftool(["prepare", "--recipe", str(recipe), "--explain", f"{shown}:2"]) == 0
    elif words.startswith("show"):
        ids = ["--id", f"{shown}:2"] if words.endswith("--id") else ["--examples", "20"]
        code = ftool(["show", "--recipe", str(recipe), "data.clean.unicode=false", *ids])
        assert code == 0, capsys.readouterr().err
    printed = "".join(capsys.readouterr())
    assert len(printed) > 200
    for sign in (*"\x1b\r\x08\x7f\x9b\x07\u202e\u2066",):
        assert sign not in printed, repr(sign)
    assert not any(line.startswith("error: forged") for line in printed.splitlines())


def test_a_report_as_json_steers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    from ftool.console import show_json

    show_json(dict(enumerate(STEERING)))
    printed = capsys.readouterr().out
    assert not set(printed) & set("\x1b\r\x08\x7f\x9b\x07\u202e\u2066")
    assert list(json.loads(printed).values()) == list(STEERING)
    assert os.linesep in printed
