"""The chat template of a model directory, rendered by transformers: prompts are those that a trainer makes itself."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from treeroll.errors import InvalidInput


@dataclass(frozen=True)
class ChatTemplate:
    """Makes one text of chat messages."""

    model_dir: Path

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(str(self.model_dir), local_files_only=True)

    def render(self, messages: list[dict[str, Any]]) -> str:
        """The messages as text, with the generation prompt. InvalidInput if the template refuses them."""
        try:
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # jinja and transformers raise many types
            raise InvalidInput(f"the model's chat template refuses the messages: {error}") from None
