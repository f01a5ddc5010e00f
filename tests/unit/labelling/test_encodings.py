import numpy as np

from iclscope.labelling import encodings
from iclscope.runtime.jobs import Job
from iclscope.tables import ENCODINGS
from learning_studies import SAMPLED, write


def test_questions_of_further_rows_are_encoded_in_their_order(tmp_path, monkeypatch):
    files, asked = write(tmp_path, further=20), []
    monkeypatch.setattr(encodings, "encode", lambda _, texts, __: asked.extend(texts) or np.eye(len(texts)))
    encodings.run(
        candidates=files.candidates,
        item_rows=files.item_rows,
        pool=files.pool,
        device="cpu",
        settings={"encoder": {"path": "x"}, "further": 15},
        encodings_out=tmp_path / "e.parquet",
        job=Job(1, {}),
    )
    assert asked == [f"What is {number}?" for number in range(2 * SAMPLED, 2 * SAMPLED + 15)]
    found = ENCODINGS.read(tmp_path / "e.parquet")
    assert found["id"].to_list() == list(range(15))
    assert found["vector"][3].to_list() == [float(place == 3) for place in range(15)]
