"""Publishing what a trainer has learned, version after version."""

import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

from treeroll.client.client import Client
from treeroll.client.run import Run
from treeroll.weights.save import save_weights


class Publisher:
    """Writes weights into folders of their own and publishes them; removes those that no replica needs any more."""

    def __init__(self, client: Client, run: Run, folder: str | Path) -> None:
        """Weights are for the model of `run`; `folder` is for nothing else, at the same path where replicas are."""
        self._client, self._run = client, run
        self._folder = Path(folder).absolute()

    @property
    def version(self) -> int:
        """In force at the service; 0 is the model that it was started with."""
        return self._client.weights().version

    def publish(self, weights: Any) -> int:
        """Publish a torch module, or a mapping of names to tensors, as the next version; returns that.

        Returns once every replica decodes with it. Raises what `save_weights` and `Run.publish_weights` raise.
        """
        version = self.version + 1
        # A name of its own: a trainer that was killed while it wrote or published may have left this version's.
        folder = self._folder / f"{version}-{uuid4().hex[:4]}"
        digest = save_weights(weights, folder)
        status = self._run.publish_weights(folder, version, digest=digest)
        for old in self._folder.iterdir():
            if str(old) not in status.in_use:
                shutil.rmtree(old)
        return version
