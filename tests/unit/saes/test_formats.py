"""Published SAEs in the formats of those who train them: hand-written encoders say what their files mean."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from iclscope.runtime.configuration.registries import SAE_FORMATS
from iclscope.runtime.errors import StudyError
from iclscope.saes import formats, published
from iclscope.saes.dictionary import load

D, WIDTH, K = 6, 10, 3
RNG = np.random.default_rng(4)
X = torch.from_numpy(RNG.standard_normal((40, D)).astype(np.float32))


def weights(**more):
    """Random weights under the names of SAELens."""
    rng = np.random.default_rng(8)
    shapes = {"W_enc": (D, WIDTH), "b_enc": (WIDTH,), "W_dec": (WIDTH, D), "b_dec": (D,), **more}
    return {name: torch.from_numpy(rng.standard_normal(shape).astype(np.float32)) for name, shape in shapes.items()}


def sparsify(folder, **changes):
    w = weights()
    named = {"encoder.weight": w["W_enc"].T.contiguous(), "encoder.bias": w["b_enc"]}
    save_file({**named, "W_dec": w["W_dec"], "b_dec": w["b_dec"]}, folder / "sae.safetensors")
    config = {"expansion_factor": 32, "normalize_decoder": True, "num_latents": WIDTH, "k": K, "multi_topk": False}
    (folder / "cfg.json").write_text(json.dumps({**config, "d_in": D, **changes}))
    return w


def gemma_2(folder, capital=True, **changes):
    w = weights(threshold=(WIDTH,))
    w["threshold"] = w["threshold"].abs()
    arrays = {name if capital else name.replace("W_", "w_"): tensor.numpy() for name, tensor in w.items()}
    np.savez(folder / "params.npz", **{**arrays, **changes})
    return w


def gemma_3(folder, architecture="jump_relu", **more):
    w = weights(threshold=(WIDTH,))
    w["threshold"] = w["threshold"].abs()
    save_file({name.lower(): tensor for name, tensor in {**w, **more}.items()}, folder / "params.safetensors")
    about = {"architecture": architecture, "hf_hook_point_in": "model.layers.12.output", "width": WIDTH}
    (folder / "config.json").write_text(json.dumps(about))
    return w


def by_hand(w, x, kind):
    """Codes, number by number: of the k largest that are above zero, or of those above their threshold."""
    codes = np.zeros((len(x), WIDTH))
    for row, token in enumerate(x.numpy()):
        if kind == "sparsify":
            token = token - w["b_dec"].numpy()
        h = [float(token @ w["W_enc"][:, i].numpy() + w["b_enc"][i].numpy()) for i in range(WIDTH)]
        least = sorted(h)[-K] if kind == "sparsify" else -np.inf
        for i, value in enumerate(h):
            above = value >= least if kind == "sparsify" else value > float(w["threshold"][i])
            codes[row, i] = value if above and value > 0 else 0.0
    return codes


WRITERS = {"sparsify": sparsify, "gemma_2": gemma_2, "gemma_3": gemma_3}


@pytest.mark.parametrize("form", WRITERS)
def test_files_mean_what_they_mean_to_those_who_wrote_them(tmp_path, form):
    w = WRITERS[form](tmp_path)
    dictionary, _ = formats.read(tmp_path, form, "saes.one.path")
    codes = by_hand(w, X, form)
    np.testing.assert_allclose(dictionary.encode(X), codes, atol=1e-5)
    rebuilt = codes @ w["W_dec"].double().numpy() + w["b_dec"].double().numpy()
    np.testing.assert_allclose(dictionary.decode(dictionary.encode(X)), rebuilt, atol=1e-5)
    assert (codes > 0).any(axis=1).all()
    assert len(set((codes > 0).sum(axis=1).tolist())) > 1 or form == "sparsify"


def test_parameters_may_be_written_small(tmp_path):
    w = gemma_2(tmp_path, capital=False)
    np.testing.assert_allclose(formats.read(tmp_path, "gemma_2", "k")[0].encode(X), by_hand(w, X, "gemma_2"), atol=1e-5)


@pytest.mark.parametrize("form", WRITERS)
def test_a_folder_is_brought_into_the_form_of_the_study_and_recorded(tmp_path, form):
    (tmp_path / "theirs").mkdir()
    w = WRITERS[form](tmp_path / "theirs")
    out = tmp_path / "ours/source.json"
    settings = {"source": "files", "path": str(tmp_path / "theirs"), "format": form}
    published.run(name="one", settings=settings, sae_out=out)
    np.testing.assert_allclose(load(out.parent, "k").encode(X), by_hand(w, X, form), atol=1e-5)
    record = json.loads(out.read_text())
    assert record["format"] == form
    assert set(record["sha256"]) == set(SAE_FORMATS[form])


@pytest.mark.parametrize("function", ["relu", "topk"])
def test_configs_of_earlier_versions_of_saelens_are_read(tmp_path, function):
    """jbloom's SAEs of GPT-2 have such: no architecture, and a scaling factor of ones."""
    w = weights()
    save_file({**w, "scaling_factor": torch.ones(WIDTH)}, tmp_path / "sae_weights.safetensors")
    old = {"d_in": D, "d_sae": WIDTH, "activation_fn_str": function, "normalize_activations": None}
    old |= {"activation_fn_kwargs": {"k": K}} if function == "topk" else {}
    (tmp_path / "cfg.json").write_text(json.dumps(old))
    codes = formats.read(tmp_path, "sae_lens", "k")[0].encode(X)
    h = (X - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    best = h.topk(K).values[:, -1:] if function == "topk" else -torch.inf
    torch.testing.assert_close(codes, torch.where(h >= best, h.relu(), 0), atol=1e-5, rtol=0)


def truncated(folder):
    gemma_2(folder)
    whole = (folder / "params.npz").read_bytes()
    (folder / "params.npz").write_bytes(whole[: len(whole) // 2])


def quantised(folder):
    sparsify(folder)
    found = load_file(folder / "sae.safetensors")
    save_file({**found, "W_dec": found["W_dec"].to(torch.int8)}, folder / "sae.safetensors")


BAD = {
    "no files": (
        "sparsify",
        lambda folder: None,
        r"cfg\.json cannot be read \(.*complete the folder, or set its format",
    ),
    "another format": ("gemma_3", sparsify, r"config\.json cannot be read"),
    "a transcoder": ("sparsify", lambda f: sparsify(f, transcode=True), r"cfg\.json is that of a transcoder"),
    "another activation": ("sparsify", lambda f: sparsify(f, activation="groupmax"), "has activation 'groupmax'"),
    "signed codes": (
        "sparsify",
        lambda f: sparsify(f, signed=True),
        r"has codes below zero \(signed\); take an SAE with",
    ),
    "another width": (
        "sparsify",
        lambda f: sparsify(f, d_in=7),
        r"of 7 neurons and 10 features \(W_enc, W_dec, b_dec\)",
    ),
    "no k": ("sparsify", lambda f: sparsify(f, k=None), r"cfg\.json lacks k"),
    "integers": (
        "sparsify",
        quantised,
        r"sae\.safetensors holds W_dec as int8; take an SAE whose weights are not quan",
    ),
    "a cut file": ("gemma_2", truncated, r"params\.npz cannot be read"),
    "a pickle": ("gemma_2", lambda f: gemma_2(f, b_dec=np.array([{}])), r"params\.npz cannot be read"),
    "a scale": ("gemma_2", lambda f: gemma_2(f, scaling_factor=np.float32(2)), r"\(scaling_factor\)"),
    "not finite": ("gemma_2", lambda f: gemma_2(f, b_dec=np.full(D, np.nan, np.float32)), "that are not finite"),
    "no array": ("gemma_2", lambda f: np.save(f / "params.npz", np.zeros(3)), r"params\.npz"),
    "gated": ("gemma_3", lambda f: gemma_3(f, architecture="gated"), r"config\.json has architecture 'gated'"),
    "a skip": (
        "gemma_3",
        lambda f: gemma_3(f, affine_skip_connection=torch.zeros(D, D)),
        r"\(affine_skip_connection\)",
    ),
    "all layers": ("gemma_3", lambda f: gemma_3(f, W_dec=torch.zeros(WIDTH, 2, D)), "holds no decoder of one layer"),
    "a list": ("gemma_3", lambda f: (f / "config.json").write_text("[]"), "holds no settings by name"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_read_is_refused_by_key_and_file(tmp_path, what):
    form, write, said = BAD[what]
    write(tmp_path)
    if what == "no array":
        (tmp_path / "params.npz.npy").rename(tmp_path / "params.npz")
    with pytest.raises(StudyError, match=rf"^saes\.one\.path: {tmp_path}/.*{said}"):
        formats.read(tmp_path, form, "saes.one.path")


def test_every_format_of_the_configuration_is_read():
    assert set(formats.READERS) == set(SAE_FORMATS)


@pytest.mark.parametrize("form", WRITERS)
def test_saelens_reads_what_was_made_of_it(tmp_path, form):
    sae_lens = pytest.importorskip("sae_lens", reason="the optional extra sae is not installed")
    (tmp_path / "theirs").mkdir()
    WRITERS[form](tmp_path / "theirs")
    settings = {"source": "files", "path": str(tmp_path / "theirs"), "format": form}
    published.run(name="one", settings=settings, sae_out=tmp_path / "ours/source.json")
    with torch.no_grad():
        codes = sae_lens.SAE.load_from_disk(tmp_path / "ours").encode(X)
    torch.testing.assert_close(load(tmp_path / "ours", "k").encode(X), codes, atol=1e-4, rtol=0)
