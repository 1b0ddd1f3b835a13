"""Tasks from reasoning-gym's data sets; scorer `reasoning_gym` scores them."""

from collections.abc import Iterator, Mapping
from typing import Any

from treeroll.errors import InvalidInput
from treeroll.scorers.reasoning_gym import FIELD, fingerprint, open_dataset

Row = dict[str, Any]


def rows(
    name: str, count: int | None, *, seed: int = 0, params: Mapping[str, Any] | None = None, chat: bool = False
) -> Iterator[Row]:
    """Items of a data set as rows of a task file.

    Args:
        name: A data set of the library, as "chain_sum".
        count: How many; the sets are endless.
        seed: The same seed gives the same items.
        params: The data set's own parameters, as {"max_terms": 4}.
        chat: Chat messages that begin with the library's own system prompt, which asks for <answer> tags.

    Raises:
        InvalidInput: No such data set, parameters that it refuses, or no count.
    """
    from reasoning_gym.utils import SYSTEM_PROMPTS

    if count is None:
        raise InvalidInput("reasoning-gym makes items without end: say how many with --count (count=)")
    system = SYSTEM_PROMPTS["default"] if chat else None
    settings = {**(params or {}), "seed": seed, "size": count}
    dataset = open_dataset(name, settings)
    for index in range(count):
        yield _row(name, index, settings, dataset[index], system)


def _row(name: str, index: int, params: Mapping[str, Any], item: Mapping[str, Any], system: str | None) -> Row:
    question = item["question"]
    answer = {} if item["answer"] is None else {"answer": str(item["answer"])}
    where = {"dataset": name, "index": index, "params": params, "question": fingerprint(question)}
    return {"id": f"{name}-{params['seed']}-{index}", **_prompt(question, system), **answer, FIELD: where}


def _prompt(question: str, system: str | None) -> Row:
    if system is None:
        return {"prompt": question}
    return {"messages": [{"role": "system", "content": system}, {"role": "user", "content": question}]}
