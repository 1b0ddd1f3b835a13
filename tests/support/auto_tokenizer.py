"""What a trainer's AutoTokenizer says of texts, asked in a process of its own, without torch: that loads slowly."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SCRIPT = """
import json, sys
sys.modules["torch"] = None
from transformers import AutoTokenizer
said = []
for folder, texts, chats in json.load(sys.stdin):
    auto = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    render = lambda chat: auto.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    said.append([[auto.encode(text) for text in texts], [render(chat) for chat in chats]])
json.dump(said, sys.stdout)
"""

Chat = list[dict[str, str]]


def auto_ids(
    asked: Mapping[Path, Sequence[str]], chats: Mapping[Path, Sequence[Chat]] | None = None
) -> dict[Path, list[list[int]]]:
    """Ids of each directory's texts, then of its chats with the generation prompt."""
    questions: list[Any] = [
        [str(folder), list(texts), list((chats or {}).get(folder, ()))] for folder, texts in asked.items()
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(questions), capture_output=True, text=True, check=True
    )
    answers = json.loads(done.stdout)
    return {folder: texts + rendered for folder, (texts, rendered) in zip(asked, answers, strict=True)}
