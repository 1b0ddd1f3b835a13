"""Packed rows train a model as padded samples do: gradients over random trees, and what packing cannot be right for."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.packing import VOCABULARY, kept_of, random_samples

from treeroll.client import TokenSchedule
from treeroll.client.packed import packed
from treeroll.client.tensors import padded
from treeroll.errors import InvalidInput

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests.support.padded_loss import distance, gradients, padded_logps, padded_loss  # noqa: E402

from treeroll.integrations import tree_attention  # noqa: E402
from treeroll.integrations.tree_attention import block_mask, packed_logps, packed_loss, sample_means  # noqa: E402

SIZE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
TIGHT, LOOSE = 1e-7, 1e-5  # float64, float32; relative to the largest gradient
OPTIONS: list[Any] = [
    {},
    {"mask_unscored": False},
    {"shared_prefixes": "once"},
    {"weigh": "samples", "whiten": True},
    {"weigh": "trees", "max_prob": 0.02},
    {"schedule": TokenSchedule((0, 0.25)), "progress": 0.5},
]


def tiny(config: Any = None, attention: str = tree_attention.NAME) -> Any:
    torch.manual_seed(0)
    tree_attention.register()
    config = config or transformers.Qwen2Config(**SIZE)
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention)


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """By number type. Norms of Qwen2 compute in float32 whatever they are given, so float64 is another architecture."""
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=256,
        attn_pdrop=0,
        embd_pdrop=0,
        resid_pdrop=0,
    )
    return {"float64": tiny(config).double(), "float32": tiny()}


def as_tensors(arrays: dict[str, Any], dtype: Any) -> dict[str, Any]:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    trees=st.integers(1, 3),
    options=st.sampled_from(OPTIONS),
    room=st.none() | st.integers(0, 20),
    per_row=st.integers(1, 3),
    attention=st.sampled_from([tree_attention.NAME, "sdpa"]),
)
@pytest.mark.parametrize(("kind", "limit"), [("float64", TIGHT), ("float32", LOOSE)])
def test_gradients_are_those_of_padded_samples(models, kind, limit, seed, trees, options, room, per_row, attention):
    model, samples = models[kind], random_samples(seed, trees)
    try:
        kept = kept_of(samples, options)
    except InvalidInput:
        return
    longest = max(len(sample.prompt_ids) + len(sample.completion_ids) for sample in kept.values())
    rows = packed(samples, None if room is None else longest + room, per_row, options)
    tensors = as_tensors(padded(samples, **options), model.dtype)
    tokens = float((tensors["loss_weights"] * tensors["loss_mask"]).sum()) or 1.0
    assert sum(float(row.loss_weights.sum()) for row in rows) == pytest.approx(tokens, rel=1e-5)
    model.set_attn_implementation("sdpa")
    padded_loss(model, tensors, tokens).backward()
    expected = gradients(model)
    model.set_attn_implementation(attention)
    for row in rows:
        packed_loss(model, row, tokens).backward()
    assert distance(gradients(model), expected) <= limit


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), room=st.none() | st.integers(0, 20))
def test_ratios_of_sequences_and_their_gradients_are_those_of_padded_samples(models, seed, room):
    """GSPO: a sample's ratio is the exponential of its mean log ratio, and has one advantage."""
    model, samples = models["float64"], random_samples(seed, 2)
    kept = kept_of(samples, {})
    longest = max(len(sample.prompt_ids) + len(sample.completion_ids) for sample in kept.values())
    tensors = as_tensors(padded([*kept.values()]), torch.float64)
    model.set_attn_implementation("sdpa")
    logs = (padded_logps(model, tensors) - tensors["old_per_token_logps"]) * tensors["loss_mask"]
    expected = (logs.sum(1) / tensors["loss_mask"].sum(1)).exp()
    factors = torch.arange(1, len(expected) + 1, dtype=torch.float64)
    (expected * factors).sum().backward()
    wanted = gradients(model)
    model.set_attn_implementation(tree_attention.NAME)
    factor_of = dict(zip(kept, factors.tolist(), strict=True))
    found = {}
    for row in packed(samples, None if room is None else longest + room, 2):
        old = torch.from_numpy(row.sampling_per_token_logps[row.count > 0])
        ratios = sample_means(row, packed_logps(model, row) - old).exp()
        factor = torch.tensor([factor_of[place] for place in row.sample_index.tolist()], dtype=torch.float64)
        (ratios * factor).sum().backward()
        found |= dict(zip(row.sample_index.tolist(), ratios.tolist(), strict=True))
    assert [found[place] for place in kept] == pytest.approx(expected.tolist(), rel=TIGHT)
    assert distance(gradients(model), wanted) <= TIGHT


def test_both_clips_act_on_these_trees(models):
    """Otherwise the tests above would not see a wrong one."""
    model, samples = models["float64"], random_samples(3, 3)
    ratios = [
        ((packed_logps(model, row) - torch.from_numpy(row.sampling_per_token_logps[row.count > 0])).exp(), row)
        for row in packed(samples)
    ]
    assert any(((ratio > 1.2).numpy() & (row.adv_pos[row.count > 0] > 0)).any() for ratio, row in ratios)
    assert any(((ratio < 0.8).numpy() & (row.adv_neg[row.count > 0] < 0)).any() for ratio, row in ratios)
    shared = [(row.adv_pos > 0) & (row.adv_neg < 0) for _, row in ratios]
    assert any(each.any() for each in shared)


def test_the_block_mask_of_flex_attention_is_the_dense_one():
    from torch.nn.attention.flex_attention import create_mask

    for row in packed(random_samples(5, 3), trees_per_row=3):
        mask = block_mask(row, torch.device("cpu"))
        found = create_mask(mask.mask_mod, 1, 1, len(row), len(row), device="cpu")
        assert (found[0, 0].numpy() == row.dense_mask()).all()


def test_a_padded_forward_pass_of_the_same_model_is_that_of_sdpa(models):
    tensors = as_tensors(padded(random_samples(1, 2)), torch.float64)
    model = models["float64"]
    found = []
    for attention in (tree_attention.NAME, "sdpa"):
        model.set_attn_implementation(attention)
        with torch.no_grad():
            found.append(padded_logps(model, tensors) * tensors["completion_mask"])
    assert torch.equal(*found)


SLIDING = transformers.MistralConfig(**SIZE, sliding_window=8)
MIXED = transformers.Qwen2Config(**SIZE, use_sliding_window=True, sliding_window=8, max_window_layers=1)
DROPOUT = transformers.Qwen2Config(**SIZE, attention_dropout=0.1)
SINKS = transformers.GptOssConfig(
    **SIZE,
    head_dim=8,
    num_local_experts=2,
    num_experts_per_tok=1,
    layer_types=["full_attention"] * 2,
    rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
)
RECURRENT = transformers.MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, state_size=4)


@pytest.mark.parametrize(
    ("config", "attention", "sentence"),
    [
        (SLIDING, "sdpa", "MistralForCausalLM cannot train on packed rows: its attention has a sliding window of 8"),
        (MIXED, "sdpa", "it has layers of type sliding_attention"),
        (DROPOUT, "sdpa", r"it trains with dropout \(0.1\)"),
        (SINKS, "eager", "its attention has sinks"),
        (RECURRENT, None, "it has layers of type linear_attention"),
        (None, "eager", "attention implementation 'eager' cannot follow a tree: load the model with attn_implem"),
    ],
)
def test_a_model_whose_packed_rows_would_be_wrong_is_refused(config, attention, sentence):
    row = packed(random_samples(1, 1))[0]
    with pytest.raises(InvalidInput, match=sentence):
        packed_logps(tiny(config, attention).train(), row)


def test_dropout_is_no_trouble_outside_of_training():
    model = tiny(DROPOUT).eval()
    assert torch.isfinite(packed_logps(model, packed(random_samples(1, 1))[0])).all()


@pytest.mark.parametrize("asked", [{"sliding_window": 8}, {"s_aux": 1}, {"softcap": 30.0}, {"dropout": 0.1}])
def test_a_layer_that_asks_for_more_than_a_tree_is_refused(asked):
    """Whatever is not seen in a model's configuration is seen in its calls."""
    query = torch.zeros(1, 1, 2, 4)
    with pytest.raises(InvalidInput, match=f"layer Linear asks for {next(iter(asked))}, which attention along a tree"):
        tree_attention.tree_attention(torch.nn.Linear(1, 1), query, query, query, None, reaches=[], **asked)
