"""The arms that several claims share."""

from typing import Final

from treeroll.bench.claims.arena import Arm

# Tasks that every seed draws for comparisons of whole trees.
TASKS: Final = 40
LEAVES: Final = 16

FLAT: Final = Arm("flat, 16 leaves", "flat", LEAVES, tasks=TASKS)
# As many independent samples per task as anything is drawn from that is worked out afterwards.
POOL: Final = Arm("flat, pool of 48", "flat", 48, tasks=TASKS)
