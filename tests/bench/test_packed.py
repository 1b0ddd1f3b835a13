"""`treeroll bench packed` takes steps on the same trees, padded and packed."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from treeroll.bench.learning.families import FAMILIES
from treeroll.bench.learning.growing import Grower
from treeroll.bench.learning.network import Network
from treeroll.bench.models import Model, find_model
from treeroll.bench.packed import PackedBench, check_variants, grown, load
from treeroll.errors import InvalidInput


async def test_packed_steps_forward_every_token_once_and_have_the_gradient_of_padded_ones(tmp_path) -> None:
    samples = grown("treepo", tasks=2, leaves=4, segment_tokens=32, max_depth=3)
    bench = PackedBench(samples, load(find_model("demo", tmp_path), "float32", "cpu"), 3, {})
    result = await bench.run(["padded", "segments", "segments-one-row", "dense"], 1, lambda line: None)
    figures = {name: found[0] for name, found in result.rounds.items()}
    assert figures["segments"]["forwarded"] == figures["dense"]["forwarded"] < figures["padded"]["forwarded"]
    assert [figures[name]["rows"] for name in figures] == [3, 2, 1, 2]
    assert result.remarks[0].startswith("2 trees, 8 samples")
    for as_used, precise in bench.distances(["segments", "segments-one-row", "dense"]).values():
        assert precise < 1e-7  # of float64; transformers computes norms in float32 whatever the model's type
        assert as_used < 1e-4  # of float32, on text that the demo model would not write; padded samples have as much


async def test_on_text_that_the_model_writes_packed_and_padded_gradients_agree_in_float32() -> None:
    """Of text by chance, above, the surprise makes large gradients, which float32 rounds by ten times as much."""
    family = FAMILIES["demo"]
    tasks = [task for task in family.split()[0] if task.extra["difficulty"] == 6][:2]
    async with Grower(family, Network.load(family.model)) as grower:
        grown = await grower.grow(family.arms()["treepo"], tasks, seed=1)
    samples = [sample for tree in grown.trees for sample in tree.samples]
    model = load(Model(family.model, "auto"), "float32", "cpu")
    bench = PackedBench(samples, model, 8, {})
    expected = bench.gradient("padded", model)
    for name in ("segments", "dense"):
        found = bench.gradient(name, model)
        assert float((found - expected).norm() / expected.norm()) <= 1e-5
        assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-5


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["padded", "sparse"], "there is no 'sparse'; there are padded, segments"),
        (["segments"], "--variants needs padded"),
        (["padded", "flex"], "FlexAttention has no backward pass on CPUs"),
    ],
)
def test_variants_that_cannot_run_are_refused(names: list[str], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        check_variants(names, "cpu")
