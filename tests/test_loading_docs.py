"""Every example of docs/loader.md, run as it is printed there."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from curator.loader import CuratedDataset
from tests.conftest import ROOT, Finished

PAGE = (ROOT / "docs/loader.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)

# What marks an example, what it needs beside pyarrow, and what it prints; N is the number of samples in the epoch.
PINNED = {
    "for sample in CuratedDataset": ("", ""),
    "world=4": ("", "REST of N are left"),
    "data.batches": ("", "N documents"),
    "torch.utils.data.DataLoader": ("torch", r"N documents; the last checkpoint stands at (\d+)"),
    "StatefulDataLoader": ("torchdata", "12 and AFTER documents"),
    "huggingface": ("datasets", "N documents\nN in batches"),
    "grain_dataset": ("grain", "True N documents"),
    "PackedDataset": ("", "128 tokens of [1-9]\\d* documents\nTrue"),
    "export_webdataset": ("webdataset", "N documents"),
    "export_mds": ("", "N documents"),
    "export_megatron": ("", r"\d+ tokens\n\['doc_id', 'source', 'tokens'\]"),
}


@pytest.fixture(scope="module")
def folder(finished_run: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples run: the run under the name they give it, and a tokenizer."""
    found = tmp_path_factory.mktemp("examples")
    (found / "demo-out").symlink_to(finished_run.out)
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel()
    texts = [sample["text"] for sample in CuratedDataset(finished_run.out)][:50]
    tokenizer.train_from_iterator(
        texts, BpeTrainer(vocab_size=400, special_tokens=["<|endoftext|>"], show_progress=False)
    )
    tokenizer.save(str(found / "tokenizer.json"))
    return found


def test_the_page_holds_what_is_pinned() -> None:
    assert len(EXAMPLES) == len(PINNED)
    assert all(mark in example for mark, example in zip(PINNED, EXAMPLES, strict=True))


@pytest.mark.parametrize("number", range(len(PINNED)), ids=list(PINNED))
def test_an_example_runs(folder: Path, number: int) -> None:
    needs, wanted = list(PINNED.values())[number]
    if needs and importlib.util.find_spec(needs) is None:
        pytest.skip(f"needs {needs}")
    path = folder / f"example_{number}.py"
    path.write_text(EXAMPLES[number], "utf-8")
    settings = os.environ | {"PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", path.name],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    total = len(CuratedDataset(folder / "demo-out"))
    for name, value in {"REST": total - 10, "AFTER": total - 12, "N": total}.items():
        wanted = re.sub(rf"\b{name}\b", str(value), wanted)
    assert re.fullmatch(wanted, done.stdout.strip())
