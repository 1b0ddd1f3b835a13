"""What the models of one service must have in common."""

import logging

from treeroll.errors import InvalidInput
from treeroll.generator.config import GeneratorConfig
from treeroll.tokenizer import Tokenizer

log = logging.getLogger(__name__)


def fleet_tokenizer(config: GeneratorConfig) -> Tokenizer:
    """The one tokenizer of all pools, with the smallest of their vocabularies and the shortest of their contexts.

    A path may go on in another pool, so all of them must read the same ids, and hold the longest path. InvalidInput for
    a model that is none, or that has another tokenizer than the others, and for a chat template file that is none.
    """
    found = {
        name: Tokenizer.load(pool.model, config.max_model_len, config.chat_template)
        for name, pool in config.fleet().items()
    }
    if config.chat_template is not None:
        next(iter(found.values())).chat.load()
    (first, common), *others = found.items()
    for name, tokenizer in others:
        if tokenizer.hash != common.hash:
            raise InvalidInput(
                f"generator.pools: '{first}' and '{name}' have different tokenizers ({common.model_dir} and "
                f"{tokenizer.model_dir}); models of one service share tokenizer and chat template"
            )
    smallest = min(found.values(), key=lambda tokenizer: tokenizer.vocab_size)
    context = min(tokenizer.max_model_len for tokenizer in found.values())
    return Tokenizer(smallest.model_dir, context, config.chat_template) if others else common


def with_common_context(config: GeneratorConfig, tokenizer: Tokenizer) -> GeneratorConfig:
    """The same configuration, with the tokenizer's context for all pools where there are several."""
    return config.model_copy(update={"max_model_len": tokenizer.max_model_len}) if config.pools else config


def stop_ids(config: GeneratorConfig) -> dict[str, list[int]]:
    """For each pool the ids that end a text of its model."""
    return {name: Tokenizer(pool.model).eos_token_ids for name, pool in config.fleet().items()}


def say_stop_ids(config: GeneratorConfig) -> None:
    """Log which ids end a text of each model; a model without any is warned of."""
    for pool in config.fleet().values():
        tokenizer = Tokenizer(pool.model)
        if stops := tokenizer.eos_token_ids:
            log.info("%s ends texts with %s", pool.model, ", ".join(map(tokenizer.describe, stops)))
        else:
            log.warning("%s", endless(pool))


def endless(pool: GeneratorConfig) -> str | None:
    """What to do if nothing ends a text of the pool's model; None if something does."""
    if Tokenizer(pool.model).eos_token_ids:
        return None
    return (
        f"nothing says which token ends a text of {pool.model}, so all paths run to max_tokens: set eos_token_id in "
        f"its generation_config.json or config.json, or run.stop_token_ids"
    )
