"""Sparse autoencoders: formulas and files of SAELens, a planted dictionary that is found, a guard against mistakes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from iclscope.activations.reading import Demonstration
from iclscope.engine.prompts import DemonstrationTokens
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel
from iclscope.saes import guard, learning
from iclscope.saes.codes import Fitted
from iclscope.saes.dictionary import JUMP_RELU, STANDARD, TOP_K, Dictionary, load, untrained
from iclscope.saes.explained import components_unexplained, survey, unexplained
from iclscope.saes.reading import Place, Tokens, median_norm, read
from iclscope.saes.texts import divided, shown
from iclscope.saes.training import batches, train
from iclscope.tables import SAE_DICTIONARY, SAE_TRAINING
from tiny import TEXT

D, WIDTH, K = 6, 10, 3


def drawn(architecture=TOP_K, seed=0):
    """A dictionary with random weights and biases."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))

    threshold = draw(WIDTH).abs() if architecture == JUMP_RELU else None
    k = K if architecture == TOP_K else 0
    return Dictionary(architecture, draw(D, WIDTH), draw(WIDTH), draw(WIDTH, D), draw(D), k, threshold)


def some(n=50, d=D, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32))


def by_hand(record, weights, x):
    """Codes and reconstruction as SAELens's classes compute them, token by token, from a file of its format."""
    codes = np.zeros((len(x), record["d_sae"]))
    w = {name: tensor.double().numpy() for name, tensor in weights.items()}
    for row, token in enumerate(x.double().numpy()):
        h = (token - w["b_dec"] * record["apply_b_dec_to_input"]) @ w["W_enc"] + w["b_enc"]
        if record["architecture"] == "topk":
            norms = np.linalg.norm(w["W_dec"], axis=1)
            h = h * norms if record.get("rescale_acts_by_decoder_norm") else h
            best = np.argsort(-h)[: record["k"]]
            codes[row, best] = np.maximum(h[best], 0)
            scale = 1 / norms if record.get("rescale_acts_by_decoder_norm") else 1
        else:
            above = w["threshold"] if record["architecture"] == "jumprelu" else 0
            codes[row] = np.where(h > above, np.maximum(h, 0), 0)
            scale = 1
        w["used"] = w["W_dec"] * np.reshape(scale, (-1, 1)) if np.ndim(scale) else w["W_dec"]
    return codes, codes @ w["used"] + w["b_dec"]


def written(folder, dictionary, **changes):
    """Write a dictionary, then change entries of its config; None takes one out."""
    dictionary.save(folder / "cfg.json", folder / "sae_weights.safetensors", {"model_name": "tiny"})
    record = json.loads((folder / "cfg.json").read_text())
    record = {name: value for name, value in (record | changes).items() if value is not None}
    (folder / "cfg.json").write_text(json.dumps(record))
    return record


@pytest.mark.parametrize("architecture", [TOP_K, JUMP_RELU, STANDARD])
@pytest.mark.parametrize("centred", [True, False])
def test_files_mean_what_they_mean_to_saelens(tmp_path, architecture, centred):
    record = written(tmp_path, drawn(architecture), apply_b_dec_to_input=centred)
    weights = load_file(tmp_path / "sae_weights.safetensors")
    assert set(weights) == {"W_enc", "b_enc", "W_dec", "b_dec"} | (
        {"threshold"} if architecture == JUMP_RELU else set()
    )
    assert weights["W_enc"].shape == (record["d_in"], record["d_sae"]) == weights["W_dec"].T.shape
    codes, rebuilt = by_hand(record, weights, some())
    read_back = load(tmp_path, "saes.one")
    np.testing.assert_allclose(read_back.encode(some()), codes, atol=1e-4)
    np.testing.assert_allclose(read_back.decode(read_back.encode(some())), rebuilt, atol=1e-4)


def test_pre_activations_in_units_of_decoder_rows_are_read_too(tmp_path):
    record = written(tmp_path, drawn(), rescale_acts_by_decoder_norm=True)
    codes, rebuilt = by_hand(record, load_file(tmp_path / "sae_weights.safetensors"), some())
    read_back = load(tmp_path, "saes.one")
    np.testing.assert_allclose(read_back.encode(some()), codes, atol=1e-4)
    np.testing.assert_allclose(read_back.decode(read_back.encode(some())), rebuilt, atol=1e-4)


@pytest.mark.parametrize("architecture", [TOP_K, JUMP_RELU, STANDARD])
def test_saelens_itself_reads_the_same(tmp_path, architecture):
    sae_lens = pytest.importorskip("sae_lens", reason="the optional extra sae is not installed")
    written(tmp_path, drawn(architecture))
    theirs, ours = sae_lens.SAE.load_from_disk(tmp_path), load(tmp_path, "saes.one")
    with torch.no_grad():
        codes = theirs.encode(some())
        torch.testing.assert_close(ours.encode(some()), codes, atol=1e-4, rtol=0)
        torch.testing.assert_close(ours.decode(codes), theirs.decode(codes), atol=1e-4, rtol=0)
    theirs.save_model(tmp_path / "theirs")
    torch.testing.assert_close(load(tmp_path / "theirs", "saes.one").encode(some()), codes, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "gated"}, "has architecture 'gated'; choose one of topk, jumprelu, standard"),
        ({"k": None}, "lacks k"),
        ({"d_sae": 11}, "does not hold the weights"),
        ({"normalize_activations": "layer_norm"}, "has normalize_activations 'layer_norm'"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_by_key_and_file(tmp_path, changes, said):
    written(tmp_path, drawn(), **changes)
    with pytest.raises(StudyError, match=f"saes.one: {tmp_path}.*{said}"):
        load(tmp_path, "saes.one")


def test_missing_and_infinite_weights_are_refused(tmp_path):
    with pytest.raises(StudyError, match=r"saes.one: .*cfg.json cannot be read"):
        load(tmp_path, "saes.one")
    written(tmp_path, drawn())
    weights = load_file(tmp_path / "sae_weights.safetensors")
    weights["b_enc"][0] = torch.inf
    save_file(weights, tmp_path / "sae_weights.safetensors")
    with pytest.raises(StudyError, match="weights that are not finite"):
        load(tmp_path, "saes.one")


ATOMS = 128


@pytest.fixture(scope="module")
def planted():
    """Activations of 64 neurons that are sums of 4 of 128 atoms around a mean, and the atoms [128, 64]."""
    rng = np.random.default_rng(5)
    atoms = rng.standard_normal((ATOMS, 64))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = np.zeros((40_000, ATOMS))
    for row in codes:
        row[rng.choice(ATOMS, 4, replace=False)] = rng.uniform(1, 3, 4)
    x = 40 * (codes @ atoms + rng.standard_normal(64))
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(atoms.astype(np.float32))


@pytest.fixture(scope="module")
def learned(planted):
    """The untrained dictionary of width 192, and what it is after training."""
    x, _ = planted
    x = x[:36_000]
    start = untrained(192, 4, x.mean(dim=0), np.random.default_rng(2))
    steps = 24 * -(-len(x) // 1024)
    done, rows = train(start, batches(x, None, 24, 1024, torch.Generator().manual_seed(0)), steps)
    return start, done, rows


def test_every_planted_atom_is_found(planted, learned):
    _, atoms = planted
    _, done, rows = learned
    assert ((atoms @ done.decoder.T).amax(dim=1) > 0.9).all()
    torch.testing.assert_close(done.decoder.norm(dim=1), torch.ones(192))
    assert rows[-1]["unexplained"] < 0.1 < rows[0]["unexplained"]
    assert [row["step"] for row in rows] == sorted({row["step"] for row in rows})


def test_the_untrained_twin_and_principal_components_never_win_on_planted_data(planted, learned):
    x, _ = planted
    start, done, _ = learned
    fresh, mean = x[36_000:], x[:36_000].mean(dim=0)
    left, active = unexplained(done, fresh, mean)
    assert active <= 4
    assert left < 0.1
    assert left < 0.3 * components_unexplained(x[:36_000], fresh, mean, 4)
    assert left < 0.3 * unexplained(start, fresh, mean)[0]


def test_variance_left_by_components_is_that_of_scikit_learn(planted):
    from sklearn.decomposition import PCA

    x = planted[0][:2000]
    fresh = planted[0][2000:3000]
    pca = PCA(4).fit(x.double().numpy())
    rest = fresh.double().numpy() - pca.inverse_transform(pca.transform(fresh.double().numpy()))
    by_pca = (rest**2).sum() / ((fresh.double().numpy() - pca.mean_) ** 2).sum()
    assert components_unexplained(x, fresh, x.mean(dim=0), 4) == pytest.approx(by_pca, abs=1e-5)


def test_more_activations_than_memory_holds_come_through_a_buffer_once_an_epoch():
    rows = torch.arange(1000.0)[:, None]
    order = torch.Generator().manual_seed(3)
    parts = list(batches(rows[:200], lambda: iter(rows.split(37)), 2, 64, order))
    assert max(map(len, parts)) <= 64
    found = torch.cat(parts).squeeze()
    assert len(found) == 2000
    for epoch in (found[:1000], found[1000:]):
        assert epoch.sort().values.tolist() == rows.squeeze().tolist()
    assert found[:100].tolist() != sorted(found[:100].tolist())


def test_a_survey_counts_features_and_keeps_their_strongest_tokens():
    dictionary, x = drawn(), some(300)
    codes = dictionary.encode(x)
    found = survey(dictionary, Tokens(torch.zeros(300), torch.arange(300), x))
    torch.testing.assert_close(found.density, (codes > 0).float().mean(dim=0))
    for feature in range(WIDTH):
        active = codes[:, feature][codes[:, feature] > 0]
        assert found.value[feature] == pytest.approx(float(active.mean()), rel=1e-5)
        best = codes[:, feature].argsort(descending=True)[:5].tolist()
        assert [place for place in found.strongest[:, feature].tolist() if place >= 0] == best[: len(active)]


@pytest.fixture(scope="module")
def texts(tiny_tokenizer):
    ids = [tiny_tokenizer(text)["input_ids"] for text in TEXT]
    return [Demonstration(n, DemonstrationTokens(one, (0, 0), (0, 0))) for n, one in enumerate(ids)]


@pytest.mark.parametrize("site", ["resid", "mlp_out"])
def test_activations_are_those_of_a_whole_pass_over_each_text(tiny_model, texts, site):
    found = {}
    for tokens in read(tiny_model, texts, site, 1):
        for text, position, x in zip(*tokens, strict=True):
            found[int(text), int(position)] = x
    assert len(found) == sum(len(one.tokens.ids) for one in texts)
    kept = []
    block = tiny_model.model.layers[1]
    part = block if site == "resid" else block.mlp
    handle = part.register_forward_hook(
        lambda *given: kept.append(given[2][0] if isinstance(given[2], tuple) else given[2])
    )
    for one in texts:
        tiny_model(torch.tensor([one.tokens.ids]))
        x = kept.pop().squeeze(0)
        for position in range(len(one.tokens.ids)):
            torch.testing.assert_close(found[one.id, position], x[position], atol=1e-5, rtol=1e-4)
    handle.remove()


def test_the_first_token_and_outlying_ones_do_not_count():
    x = torch.ones(6, 4)
    x[4] *= 11
    x[0] *= 1000
    tokens = Tokens(torch.zeros(6), torch.tensor([0, 1, 2, 3, 4, 5]), x)
    assert tokens.usable(median_norm(tokens)).position.tolist() == [1, 2, 3, 5]


def test_a_layer_is_a_block_or_a_share_of_the_depth(tiny_model):
    assert [Place("resid", layer).index(tiny_model, "saes.one") for layer in (0, 2, 0.5, 1.0)] == [0, 2, 1, 2]
    with pytest.raises(StudyError, match=r"saes.one.layer: there is no block 3, the model has 3"):
        Place("resid", 3).index(tiny_model, "saes.one")


def of_layer(model, texts, layer):
    """A dictionary that rebuilds a layer of these texts well: its tokens themselves."""
    x = Tokens.joined(list(read(model, texts, "resid", layer)))
    x = x.usable(median_norm(x)).x
    mean = x.mean(dim=0)
    start = untrained(96, 6, mean, np.random.default_rng(0))
    return train(start, batches(x, None, 150, 64, torch.Generator().manual_seed(0)), 150 * -(-len(x) // 64))[0]


def test_the_guard_stops_a_dictionary_of_another_layer_and_names_the_better_one(tiny_model, texts):
    dictionary = of_layer(tiny_model, texts, 1)
    guard.check(tiny_model, texts, dictionary, ("resid", 1), "saes.one")
    with pytest.raises(StudyError, match=r"saes.one: .* at resid, layer 2, but 0\.\d\d at resid, layer 1"):
        guard.check(tiny_model, texts, dictionary, ("resid", 2), "saes.one")
    with pytest.raises(StudyError, match=r"saes.one: the SAE reads 6 neurons, resid at layer 1 of the model has 32"):
        guard.check(tiny_model, texts, drawn(), ("resid", 1), "saes.one")


def test_texts_are_divided_into_those_to_train_on_and_those_held_out(tiny_tokenizer):
    texts = [f"{text} {number}" for number in range(40) for text in TEXT]
    train_on, held_out = divided(texts, tiny_tokenizer, 512, 1000, np.random.default_rng(0))
    sizes = [sum(len(one.tokens.ids) for one in side) for side in (train_on, held_out)]
    assert 1000 <= sizes[0] < 1100
    assert 80 <= sizes[1] <= 180
    shared = {tuple(one.tokens.ids) for one in train_on} & {tuple(one.tokens.ids) for one in held_out}
    assert not shared


def test_contexts_mark_the_token(tiny_tokenizer):
    ids = tiny_tokenizer(TEXT[0])["input_ids"]
    one = Demonstration(0, DemonstrationTokens(ids, (0, 0), (0, 0)))
    text = shown(one, 3, tiny_tokenizer)
    assert text.replace("«", "").replace("»", "") in TEXT[0]
    assert text.partition("«")[2].partition("»")[0] == tiny_tokenizer.decode([ids[3]])


@pytest.fixture
def learn(tiny_model, tiny_tokenizer, tmp_path):
    """A function that trains an SAE of the tiny model on a file of texts; returns its folder."""
    tiny_model.save_pretrained(tmp_path / "tiny")
    tiny_tokenizer.save_pretrained(tmp_path / "tiny")
    rows = [{"text": f"{text} {number}"} for number in range(30) for text in TEXT]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "name": "one", "source": "train", "site": "resid", "layer": 1, "width": 40, "k": 4, "tokens": 1500, "epochs": 2,
        "texts": {"files": [str(tmp_path / "texts.jsonl")]},
    }  # fmt: skip

    def run(folder, **changes):
        learning.run(
            files=learning.Files(),
            model=PreparedModel(tmp_path / "tiny"),
            settings=settings | changes,
            sae_out=[folder / "cfg.json", folder / "sae_weights.safetensors"],
            features_out=folder / "features.parquet",
            training_out=folder / "training.parquet",
            job=Job(3, {}),
        )
        return folder

    return run


def test_texts_that_memory_does_not_hold_are_read_anew_each_epoch(learn, tmp_path, monkeypatch):
    at_once = SAE_TRAINING.read(learn(tmp_path / "a") / "training.parquet").row(-1, named=True)
    monkeypatch.setattr(learning, "MEMORY", 4 * 32 * 400)  # 400 tokens of 32 neurons
    streamed = SAE_TRAINING.read(learn(tmp_path / "b") / "training.parquet").row(-1, named=True)
    assert streamed["tokens"] == at_once["tokens"] > 2 * 1400
    assert streamed["unexplained"] < streamed["untrained"]
    known = SAE_DICTIONARY.read(tmp_path / "b/features.parquet")
    assert known.height == 2 * 40
    assert known.filter(sae="one")["density"].sum() == pytest.approx(4, abs=0.5)


def test_the_same_seed_makes_the_same_sae_and_the_same_twin_anywhere(learn, tmp_path):
    first, second = (learn(tmp_path / name) for name in "ab")
    for file in ("cfg.json", "sae_weights.safetensors", "features.parquet"):
        assert (first / file).read_bytes() == (second / file).read_bytes()
    twin = Fitted.of(first / "cfg.json", "one_random", 3).dictionary
    mean = torch.tensor(json.loads((first / "cfg.json").read_text())["metadata"]["mean"])
    start = learning.twin_of(40, 4, mean, "one", 3)
    torch.testing.assert_close(twin.decoder, start.decoder, rtol=0, atol=0)
    assert not torch.allclose(load(first, "saes.one").decoder, start.decoder)


def test_an_sae_that_was_trained_here_must_explain_its_own_layer_best(learn, tmp_path, monkeypatch):
    """Trained on another layer than the one of which the configuration speaks, as a fault of reading would have it."""
    monkeypatch.setattr(learning, "read", lambda model, texts, site, layer: read(model, texts, site, 2))
    said = r"saes\.one: .* at resid, layer 1, but 0\.\d\d at resid, layer 2; raise tokens or epochs, or train it at"
    with pytest.raises(StudyError, match=said):
        learn(tmp_path / "a")


def test_texts_that_are_missing_or_have_no_text_are_named(learn, tmp_path):
    with pytest.raises(StudyError, match=r"none\.jsonl does not exist"):
        learn(tmp_path / "a", texts={"files": [str(tmp_path / "none.jsonl")]})
    (tmp_path / "other.jsonl").write_text('{"text": "a sea"}\n{"body": "b"}\n')
    with pytest.raises(StudyError, match=r"saes\.one\.texts: .*other\.jsonl, row 2 has no text in its field 'text'"):
        learn(tmp_path / "a", texts={"files": [str(tmp_path / "other.jsonl")]})
