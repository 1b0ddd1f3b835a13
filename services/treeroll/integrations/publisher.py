"""Publishing what a trainer has learned, version after version."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from treeroll.client.run import Run
from treeroll.errors import WeightsRefused
from treeroll.weights.check import MARKER
from treeroll.weights.save import save_weights


class Publisher:
    """Writes weights into folders of their own and publishes them; removes those that no replica needs any more."""

    def __init__(self, run: Run, folder: str | Path) -> None:
        """Weights are for the model of `run`; `folder` is for nothing else, at the same path where replicas are."""
        self._run, self._folder = run, Path(folder).absolute()

    @property
    def version(self) -> int:
        """In force at the service; 0 is the model that it was started with."""
        return self._run.weights().version

    def publish(self, weights: Any) -> int:
        """Publish a torch module, or a mapping of names to tensors, as the next version; returns that.

        Returns once every replica decodes with it. Raises what `save_weights` and `Run.publish_weights` raise.
        """
        return self._publish(lambda folder: save_weights(weights, folder))

    def publish_written(self, write: Callable[[Path], Any]) -> int:
        """`publish` for weights that another program writes: `write` puts safetensors files into the folder it is
        given, and they are complete when it returns."""

        def written(folder: Path) -> None:
            write(folder)
            (folder / MARKER).touch()

        return self._publish(written)

    def _publish(self, write: Callable[[Path], str | None]) -> int:
        self._settle()
        version = self.version + 1
        # A name of its own: a trainer that was killed while it wrote or published may have left this version's.
        folder = self._folder / f"{version}-{uuid4().hex[:4]}"
        digest = write(folder)
        status = self._run.publish_weights(folder, version, digest=digest)
        for old in status.unused(self._folder):
            shutil.rmtree(old)
        return version

    def _settle(self) -> None:
        """Wait for the end of a version that is on its way: a trainer that was killed may have published it."""
        if (left := self._run.weights().publication) is not None:
            with contextlib.suppress(WeightsRefused):
                self._run.publish_weights(left.path, left.version, digest=left.digest)
