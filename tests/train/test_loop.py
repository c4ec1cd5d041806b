import copy
import warnings

import pytest
import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from tiny import tiny_model
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from ftool.errors import RunError
from ftool.example import EncodedExample
from ftool.model.compute.forward import enable_rows
from ftool.recipe.schema import Recipe
from ftool.train.loop import training_steps
from ftool.train.optimizer import make_optimizer
from ftool.train.order import global_batch
from ftool.train.plan import Plan

BEGINNINGS = (tuple(range(5, 15)), tuple(range(20, 40)), ())


def examples(count=22, seed=3):
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        length = int(torch.randint(6, 20, (), generator=generator))
        ids = BEGINNINGS[number % 3] + tuple(
            torch.randint(3, 300, (length,), generator=generator).tolist()
        )
        length = len(ids)
        learned = int(torch.randint(1, 5, (), generator=generator))
        labels = (-100,) * (length - learned) + ids[length - learned :]
        made.append(EncodedExample(f"e{number}", ids, labels))
    return made


def recipe(**train):
    return Recipe.model_validate(
        {
            "name": "t",
            "data": {"sources": [{"path": "x.csv"}]},
            "train": {"global_batch_size": 8, "learning_rate": 1e-2, "weight_decay": 0.1} | train,
        }
    )


def plan(count, settings, total=6, micro=8, shared=False):
    steps_per_epoch = -(-count // settings.train.global_batch_size)
    return Plan("cpu", "float32", 64, micro, 9999, shared, steps_per_epoch, total, None, 100, {})


def with_adapter(model):
    torch.manual_seed(5)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, config)


MODELS = {"full": lambda: tiny_model(), "lora": lambda: with_adapter(tiny_model())}


def run(model, settings, data, *, micro=8, total=6, shared=False, gradients=None):
    """Return the losses of the steps and the weights; `gradients` gets those of the first step."""
    assert not shared or enable_rows(model, data)
    accelerator = Accelerator(cpu=True)
    model, optimizer = accelerator.prepare(model, make_optimizer(model, settings.train))

    def keep(*_):
        if gradients is not None and not gradients:
            named = model.named_parameters()
            gradients.update({name: p.grad.clone() for name, p in named if p.grad is not None})

    optimizer.optimizer.register_step_pre_hook(keep)
    steps = training_steps(
        model,
        optimizer,
        data,
        accelerator=accelerator,
        plan=plan(len(data), settings, total=total, micro=micro, shared=shared),
        recipe=settings,
    )
    return [step.loss for step in steps], {n: p.detach() for n, p in model.named_parameters()}


@pytest.fixture
def norms_in_float64(monkeypatch):
    """Let norms compute in the dtype of the model; transformers' always round to float32."""

    def forward(self, states):
        variance = states.pow(2).mean(-1, keepdim=True)
        return self.weight * states * torch.rsqrt(variance + self.variance_epsilon)

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)


@pytest.mark.usefixtures("norms_in_float64")
@pytest.mark.parametrize("method", MODELS)
@pytest.mark.parametrize(("micro", "shared"), [(1, False), (3, False), (3, True), (8, True)])
def test_k_micro_batches_equal_one_batch(method, micro, shared):
    # In float64: AdamW makes a whole step of a gradient that is only rounding, so in float32 some
    # weights of any two orders of summation part, whatever the loop does.
    settings, data = recipe(), examples()
    gradients, other = {}, {}
    losses, weights = run(MODELS[method]().double(), settings, data, gradients=gradients)
    divided = run(
        *(MODELS[method]().double(), settings, data),
        **{"micro": micro, "shared": shared, "gradients": other},
    )
    assert divided[0] == pytest.approx(losses, abs=1e-12)
    assert gradients.keys() == other.keys() and len(gradients) > 10
    for name, value in gradients.items():
        assert value.any() or "lora_A" in name  # behind lora_B, which begins as zero
        torch.testing.assert_close(other[name], value, rtol=1e-9, atol=1e-15)
    for name, value in weights.items():
        torch.testing.assert_close(divided[1][name], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", MODELS)
@pytest.mark.parametrize(("micro", "shared"), [(1, False), (3, True), (8, True)])
def test_the_losses_of_micro_batches_are_those_of_one_batch_in_float32(method, micro, shared):
    settings, data = recipe(), examples()
    losses, _ = run(MODELS[method](), settings, data, micro=8)
    divided, _ = run(MODELS[method](), settings, data, micro=micro, shared=shared)
    assert divided == pytest.approx(losses, abs=1e-5)


class OurOrder(torch.utils.data.Dataset):
    """The examples in the order of the steps, padded the way the stock Trainer pads."""

    def __init__(self, data, order):
        self.rows = [data[index] for index in order]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        return {"input_ids": row.input_ids, "labels": row.labels}


def collate(rows):
    length = max(len(row["input_ids"]) for row in rows)
    ids = [[*row["input_ids"], *[0] * (length - len(row["input_ids"]))] for row in rows]
    labels = [[*row["labels"], *[-100] * (length - len(row["labels"]))] for row in rows]
    mask = [[1] * len(row["input_ids"]) + [0] * (length - len(row["input_ids"])) for row in rows]
    return {
        "input_ids": torch.tensor(ids),
        "labels": torch.tensor(labels),
        "attention_mask": torch.tensor(mask),
    }


class InOrder(Trainer):
    """Theirs, in our order of examples."""

    micro_losses: list

    def _get_train_sampler(self, *args, **kwargs):
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        self.micro_losses.append(loss.item())
        return loss


class BeganAboveZero(InOrder):
    """Theirs by our warm-up, which leaves out the first value of theirs: a step of 0."""

    def create_scheduler(self, num_training_steps, optimizer=None):
        optimizer = optimizer or self.optimizer
        self.lr_scheduler = get_scheduler(
            self.args.lr_scheduler_type,
            optimizer,
            self.args.warmup_steps + 1,
            num_training_steps + 1,
        )
        with warnings.catch_warnings():  # torch wants no step before the optimizer's
            warnings.simplefilter("ignore")
            self.lr_scheduler.step()
        return self.lr_scheduler


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("method", MODELS)
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_loop_equals_the_stock_trainer_step_by_step(method, schedule, tmp_path):
    settings = recipe(schedule=schedule, warmup_ratio=0.2, max_grad_norm=0.5)
    theirs = MODELS[method]()
    theirs_losses = train_stock(BeganAboveZero, theirs, settings, tmp_path, warmup_steps=2)
    losses, weights = run(MODELS[method](), settings, examples(24), micro=4)
    assert theirs_losses == pytest.approx(losses, abs=1e-5)
    for name, value in theirs.named_parameters():
        torch.testing.assert_close(weights[name], value.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("norms_in_float64")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("method", MODELS)
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_without_a_warm_up_the_schedule_is_the_stock_trainers(method, schedule, tmp_path):
    settings = recipe(schedule=schedule, warmup_ratio=0, max_grad_norm=0.5)
    theirs = MODELS[method]().double()
    theirs_losses = train_stock(InOrder, theirs, settings, tmp_path, compute_loss_func=mean_loss)
    losses, weights = run(MODELS[method]().double(), settings, examples(24), micro=4)
    assert theirs_losses == pytest.approx(losses, abs=1e-12)
    for name, value in theirs.named_parameters():
        # AdamW enlarges what rounding makes of a gradient near zero.
        torch.testing.assert_close(weights[name], value.detach(), rtol=0, atol=1e-10)


def mean_loss(outputs, labels, num_items_in_batch):
    """Return the stock loss without its rounding to float32."""
    logits, targets = outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(logits, targets, reduction="sum") / num_items_in_batch


def train_stock(stock, model, settings, folder, *, warmup_steps=0, **own):
    """Train on the examples in our order by a stock Trainer; return the losses of the steps."""
    data = examples(24)
    order = [i for step in range(6) for i in global_batch(24, 8, seed=settings.seed, step=step)]
    trainer = stock(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            max_steps=6,
            learning_rate=1e-2,
            lr_scheduler_type=settings.train.schedule,
            warmup_steps=warmup_steps,
            weight_decay=0.1,
            max_grad_norm=0.5,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            remove_unused_columns=False,
        ),
        train_dataset=OurOrder(data, order),
        data_collator=collate,
        **own,
    )
    trainer.micro_losses = []
    trainer.train()
    pairs = zip(trainer.micro_losses[::2], trainer.micro_losses[1::2], strict=True)
    return [sum(pair) for pair in pairs]


@pytest.mark.parametrize("method", MODELS)
@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_a_run_of_one_step_learns(method, schedule):
    model = MODELS[method]()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    _, after = run(model, recipe(schedule=schedule, warmup_ratio=0.03), examples(), total=1)
    assert any((after[name] != value).any() for name, value in before.items())


def test_a_loss_that_is_not_finite_stops_with_step_and_examples():
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight[7] = float("nan")
    with pytest.raises(RunError, match=r"step 1: the loss is nan; the step learned e\d+"):
        run(model, recipe(), examples())


def test_the_first_steps_do_not_depend_on_how_many_follow_with_a_constant_rate():
    settings = recipe(schedule="constant", warmup_ratio=0)
    short, _ = run(tiny_model(), settings, examples(), total=3)
    long, _ = run(tiny_model(), settings, examples(), total=6)
    assert long[:3] == short


def test_dropout_follows_from_seed_and_step_alone():
    model = tiny_model(attention_dropout=0.5)
    first, _ = run(copy.deepcopy(model), recipe(), examples(), total=3)
    torch.rand(100)
    second, _ = run(model, recipe(), examples(), total=3)
    assert first == second
