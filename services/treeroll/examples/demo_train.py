"""What scripts/demo_train runs: a service with the demo model that errs, the trainer of these examples, and a picture.

    python -m treeroll.examples.demo_train --out runs/demo_train --recipe treepo

Options that are not listed here go to the trainer. Ctrl-C ends the training and keeps what is there.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from treeroll.demo import ERRING_MODEL_DIR
from treeroll.errors import TreerollError
from treeroll.examples.curve import draw
from treeroll.examples.learning_log import account, read_curve
from treeroll.generator.affinity import THREADS
from treeroll.local_service import LocalService

TRAINER = "treeroll.examples.torch_trainer"


async def train(model: Path, out: Path, options: list[str]) -> int:
    """Start a service, train, stop it; the exit status of the trainer."""
    service = LocalService({"generator": {"model": str(model)}}, out / "service.log")
    started = time.monotonic()
    try:
        address = await service.start()
        print(f"the service was ready after {time.monotonic() - started:.0f} s", flush=True)
        trainer = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", TRAINER, "--address", address, "--model", str(model), "--out", str(out), *options),
        )
        # Ctrl-C in a terminal reaches the trainer too, which ends by itself; the service is a session of its own.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, trainer.send_signal, signal.SIGINT)
        return await trainer.wait()
    finally:
        await service.stop()


def report(out: Path) -> None:
    """Draw the curve, and say what was learned and where the trees went."""
    rows = read_curve(out)
    if not rows:
        return
    draw([out], out / "curve.png")
    print(f"held-out reward {rows[0]['held_out_reward']:.3f} -> {rows[-1]['held_out_reward']:.3f}: {out}/curve.png")
    if (out / "checkpoint.pt").exists() and (out / "journal.jsonl").exists():
        print(f"the checkpoint has learned from {account(out)}")


def main() -> None:
    """Run the demo; ends with the trainer's exit status, 1 if the service does not start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=Path, default=ERRING_MODEL_DIR, help="to serve and train (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/demo_train"), help="(%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="remove what an earlier training left in --out")
    arguments, options = parser.parse_known_args()
    if arguments.overwrite:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(arguments.out)
    arguments.out.mkdir(parents=True, exist_ok=True)
    # Engine and trainer compute at the same time: half of the cores each, or their threads wait for one another.
    os.environ.setdefault(THREADS, str(max(1, len(os.sched_getaffinity(0)) // 2)))
    try:
        status = asyncio.run(train(arguments.model.resolve(), arguments.out, options))
        report(arguments.out)
    except TreerollError as error:
        sys.exit(f"error: {error}")
    sys.exit(status)


if __name__ == "__main__":
    main()
