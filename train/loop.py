"""The training loop: ``transformers.Trainer`` with our rows, our loss and our progress."""

from __future__ import annotations

import math
import tempfile
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging as transformers_logging

from isogloss.errors import TrainError
from isogloss.progress import Report, silent
from isogloss.train.packing import IGNORE, Rows
from isogloss.train.recipe import TrainRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LOG_EVERY = 10


class Fitted(NamedTuple):
    """What a run of the loop did."""

    steps: int
    tokens: int
    """Tokens of data seen, padding left out."""
    first_loss: float
    """Mean loss of the first logged steps, nats a token."""
    last_loss: float
    seconds: float


class _RowSet(torch.utils.data.Dataset[int]):
    """Row numbers; the collator takes the rows themselves."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


class _Collate:
    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __call__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        rows = self.rows
        labels = torch.from_numpy(rows.labels[indices])
        return {
            "input_ids": torch.from_numpy(rows.ids[indices]),
            # Each padding token becomes a document of its own, which nobody attends to.
            "position_ids": torch.from_numpy(rows.positions[indices]).clamp(min=0),
            "labels": labels,
            "shift_labels": labels,
            "weights": torch.from_numpy(rows.weights[indices]),
        }


class _Trainer(Trainer):
    """Weighted cross-entropy on shifted labels, divided by the number of labels in the step."""

    loss_is_scaled_for_ga = True

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        out = model(
            input_ids=inputs["input_ids"], position_ids=inputs["position_ids"], use_cache=False
        )
        logits = out.logits.flatten(0, 1)
        labels = inputs["labels"].flatten()
        losses = torch.nn.functional.cross_entropy(
            logits.float(), labels, ignore_index=IGNORE, reduction="none"
        )
        count = (labels != IGNORE).sum() if num_items_in_batch is None else num_items_in_batch
        loss = (losses * inputs["weights"].flatten()).sum() / count
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        return (loss, out) if return_outputs else loss


class _Progress(TrainerCallback):
    def __init__(self, report: Report, label: str, tokens_a_step: float) -> None:
        self.report, self.label, self.tokens_a_step = report, label, tokens_a_step
        self.losses: list[float] = []
        self.started = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        self.losses.append(float(loss))
        if not math.isfinite(self.losses[-1]):
            raise TrainError(
                f"the loss is {loss} at step {state.global_step}",
                expected="a finite loss",
                hint="lower it with --set learning_rate=…",
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        done = state.global_step
        rate = done * self.tokens_a_step / max(time.monotonic() - self.started, 1e-9)
        facts: dict[str, float | str] = {"tok/s": round(rate)}
        if self.losses:
            facts["loss"] = round(self.losses[-1], 3)
        self.report(self.label, done, state.max_steps, facts)


def fit(
    model: PreTrainedModel,
    rows: Rows,
    recipe: TrainRecipe,
    *,
    device: str,
    report: Report = silent,
    label: str = "train",
) -> Fitted:
    """Train ``model`` in place on ``rows``; their order, dropout and all else come from the seed.

    Raises:
        TrainError: the loss is no longer finite, or a batch does not fit in memory.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    per_batch = max(1, recipe.batch_tokens // recipe.sequence_length)
    micro = max(1, (recipe.micro_tokens or recipe.batch_tokens) // recipe.sequence_length)
    micro = min(micro, per_batch)
    accumulation = -(-per_batch // micro)
    steps_an_epoch = max(1, math.ceil(len(rows.ids) / (micro * accumulation)))
    steps = recipe.max_steps or max(1, round(recipe.epochs * steps_an_epoch))
    progress = _Progress(report, label, rows.tokens / steps_an_epoch)
    with tempfile.TemporaryDirectory(prefix="isogloss-") as scratch:
        trainer = _Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=scratch,
                per_device_train_batch_size=micro,
                gradient_accumulation_steps=accumulation,
                max_steps=steps,
                learning_rate=recipe.learning_rate,
                lr_scheduler_type=recipe.schedule
                if recipe.schedule != "constant"
                else "constant_with_warmup",
                warmup_steps=round(recipe.warmup * steps),
                weight_decay=recipe.weight_decay,
                max_grad_norm=recipe.clip,
                bf16=use_bfloat16(recipe.dtype, device),
                activation_checkpointing=recipe.gradient_checkpointing,
                use_cpu=device == "cpu",
                seed=recipe.seed,
                data_seed=recipe.seed,
                save_strategy="no",
                logging_steps=max(1, min(_LOG_EVERY, steps // 10)),
                logging_first_step=True,
                logging_nan_inf_filter=False,
                disable_tqdm=True,
                report_to=[],
                remove_unused_columns=False,
                dataloader_pin_memory=False,
            ),
            train_dataset=_RowSet(len(rows.ids)),
            data_collator=_Collate(rows),
            callbacks=[progress],
        )
        # Our loss needs the number of labels in the step, whatever the model's forward takes.
        trainer.model_accepts_loss_kwargs = True
        # The Trainer prints its logs where no bar is drawn; ours go through report.
        for callback in list(trainer.callback_handler.callbacks):
            if type(callback).__name__ == "PrinterCallback":
                trainer.remove_callback(callback)
        try:
            trainer.train()
        except torch.OutOfMemoryError as error:
            raise TrainError(
                f"{micro} rows of {recipe.sequence_length} tokens do not fit in memory",
                hint="halve it with --set micro_tokens="
                f"{max(recipe.sequence_length, micro * recipe.sequence_length // 2)}",
            ) from error
    return Fitted(
        steps,
        round(rows.tokens * steps / steps_an_epoch),
        progress.losses[0],
        sum(progress.losses[-3:]) / len(progress.losses[-3:]),
        time.monotonic() - progress.started,
    )


def use_bfloat16(wanted: str, device: str) -> bool:
    """Whether arithmetic is bfloat16: as asked, or for ``auto`` where the machine computes in it.

    A GPU says so itself; of CPUs those with AMX tiles do, the others emulate it and are slower.
    """
    if wanted != "auto":
        return wanted == "bfloat16"
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    return device == "cpu" and bool(torch.cpu._is_amx_tile_supported())
