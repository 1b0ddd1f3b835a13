"""Prompts of tasks, from any of their three forms to token ids."""

import json

import numpy as np

from treeroll.chat.messages import plain_messages
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.tokenizer import Tokenizer


def prompt_of(task: api.Task, tokenizer: Tokenizer, where: str) -> tuple[list[int], str]:
    """Ids and text of a task's prompt. InvalidInput, starting with `where`, for one that cannot be read or rendered."""
    match task.WhichOneof("prompt"):
        case "text":
            return tokenizer.encode_text(task.text), task.text
        case "prompt_ids":
            if len(task.prompt_ids) % 4:
                raise InvalidInput(f"{where}: prompt_ids is not a whole number of int32 values")
            ids = [int(i) for i in np.frombuffer(task.prompt_ids, "<i4")]
            tokenizer.check_prompt(ids, where)
            return ids, tokenizer.decode(ids)
        case "messages_json":
            try:
                return tokenizer.encode_messages(plain_messages(_json(task.messages_json)))
            except InvalidInput as error:
                raise InvalidInput(f"{where}: {error}") from None
    raise InvalidInput(f"{where}: it has no prompt; give text, messages or prompt_ids")


def _json(raw: str) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"messages are not usable JSON: {error}") from None
