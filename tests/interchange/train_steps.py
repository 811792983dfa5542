"""One real step of each of TRL's trainers on finished versions, with tiny random models; prints the outcome.

Run as `python train_steps.py WORK SFT PREFERENCE RLVR` with the folders of three versions. The rows reach the
trainers as the versions' cards say, and by nothing else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, load_dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
STEP = {
    "max_steps": 1,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-3,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "seed": 7,
}
"""Set although some are defaults: those of the trainers change between releases."""


def texts(rows: Dataset) -> Iterator[str]:
    for row in rows:
        yield from (message["content"] for message in row["messages"])


def tokenizer_of(rows: Dataset) -> PreTrainedTokenizerFast:
    """A byte-level BPE learned from the rows themselves, with a chat template."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<pad>", "<eos>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        texts(rows), trainers.BpeTrainer(vocab_size=512, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def save_models(folder: Path, tokenizer: PreTrainedTokenizerFast) -> tuple[str, str]:
    """A language model and a reward model of the same tiny size, as users have them: in folders."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        num_labels=1,
    )
    torch.manual_seed(7)
    paths = []
    for name, model in (("lm", LlamaForCausalLM(config)), ("rm", LlamaForSequenceClassification(config))):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        paths.append(str(folder / name))
    return paths[0], paths[1]


def step(trainer: Any) -> dict[str, Any]:
    """Runs it; whether the weights moved, and the loss."""
    before = [weight.detach().clone() for weight in trainer.model.parameters()]
    loss = trainer.train().training_loss
    after = list(trainer.model.parameters())
    moved = sum(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    return {"loss": loss, "moved": moved, "weights": len(after), "steps": trainer.state.global_step}


def refusal(make: Callable[[], Any]) -> str | None:
    """The name of the error with which a trainer turns rows down; which one it is hangs on where it looks."""
    try:
        make()
    except (TypeError, AttributeError) as error:
        return type(error).__name__
    return None


def main(work: Path, sft: str, preference: str, rlvr: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    rows = load_dataset(sft, split="train")
    tokenizer = tokenizer_of(rows)
    lm, rm = save_models(work, tokenizer)
    out = str(work / "out")
    told: dict[str, Any] = {}

    told["sft"] = step(SFTTrainer(lm, args=SFTConfig(out, max_length=256, **STEP), train_dataset=rows))

    pairs = load_dataset(preference, "trl", split="train")
    told["pairs"] = pairs.column_names
    dpo = DPOConfig(out, max_length=256, beta=0.1, precompute_ref_log_probs=True, **STEP)
    told["refused"] = refusal(
        lambda: DPOTrainer(lm, args=dpo, train_dataset=load_dataset(preference, split="train"))
    )
    told["dpo"] = step(DPOTrainer(lm, args=dpo, train_dataset=pairs, processing_class=tokenizer))
    told["reward"] = step(
        RewardTrainer(rm, args=RewardConfig(out, max_length=256, **STEP), train_dataset=pairs)
    )

    prompts = load_dataset(rlvr, split="train").rename_column("messages", "prompt")
    seen: list[tuple[str, str]] = []

    def reward(completions: list[Any], ground_truth: list[str], dataset: list[str], **_: Any) -> list[float]:
        """The last answer's length stands in for a verifier: a random model solves nothing."""
        seen.extend(zip(ground_truth, dataset, strict=True))
        return [float(len(completion[-1]["content"])) for completion in completions]

    grpo = GRPOConfig(
        out, num_generations=2, max_completion_length=8, temperature=1.0, beta=0.01, use_vllm=False, **STEP
    )
    told["grpo"] = step(
        GRPOTrainer(lm, reward_funcs=reward, args=grpo, train_dataset=prompts, processing_class=tokenizer)
    )
    told["seen"] = seen
    return told


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *sys.argv[2:5])))
