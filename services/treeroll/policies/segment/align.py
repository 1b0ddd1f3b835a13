"""From wanted segment ends to boundaries an engine can fork at cheaply."""

from collections.abc import Iterable


def align(wanted: Iterable[int], prompt_tokens: int, block: int, cap: int) -> list[int]:
    """Strictly ascending totals, each the smallest one >= the wanted total that is 1 modulo `block` (1: any total).

    A prefix-cache hit covers whole blocks up to the last token but one, so a fork there recomputes one token only.
    Where wanted totals lie closer than a block, each boundary still advances one block. A boundary beyond `cap` becomes
    the cap, aligned or not, and is the last.
    """
    totals: list[int] = []
    last = prompt_tokens
    for total in wanted:
        if last >= cap:
            break
        least = max(total, last + 1)
        last = min(least + (1 - least) % block, cap)
        totals.append(last)
    return totals
