"""Tables: what is written is what was declared, and what is read is what was written."""

import itertools
import json

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from iclscope.runtime.errors import StudyError
from iclscope.runtime.parquet import Column, Table, read_provenance
from iclscope.tables import CORRELATION, EMBEDDINGS, METRICS, QUALITY, TABLES

ALL = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
TEXTS = ["", "accuracy", "Frage: größer?\nAntwort:", "🐳 emoji", 'tab\tand \\ quote "']


def random_value(dtype, rng):
    if isinstance(dtype, pl.List):
        return [random_value(dtype.inner, rng) for _ in range(rng.integers(0, 4))]
    if isinstance(dtype, pl.Struct):
        return {field.name: random_value(field.dtype, rng) for field in dtype.fields}
    if dtype.is_float():
        return rng.choice([rng.normal(), 0.0, np.nan, np.inf])
    if dtype == pl.Boolean:
        return bool(rng.integers(2))
    if dtype.is_integer():
        return int(rng.integers(-100, 100))
    return str(rng.choice(TEXTS))


def random_frame(table, rows, seed=0):
    """Rows with every kind of value a column may hold: empty lists, NaN, emoji, and nothing where that is allowed."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            column.name: [
                None if column.nullable and rng.random() < 0.3 else random_value(table.schema[column.name], rng)
                for _ in range(rows)
            ]
            for column in table.columns
        },
        schema=table.schema,
    )
    last = table.key[-1]
    distinct = pl.int_range(rows, dtype=pl.Int64).cast(table.schema[last])
    return frame.with_columns(distinct.alias(last))


def quality(**columns):
    plain = {"target": ["gain"] * 3, "candidate": [0, 1, 2], "value": [0.1, 0.2, 0.3], "standard_error": [0.0] * 3}
    return pl.DataFrame(
        {**plain, "items": [9] * 3, "one_answer": [None] * 3, **columns}, schema=QUALITY.schema, strict=False
    )


class TestDeclarations:
    def test_tables_go_by_their_names(self):
        assert all(table.name == name for name, table in TABLES.items())

    @ALL
    def test_columns_are_described_once_each_and_hold_the_key(self, table):
        names = [column.name for column in table.columns]
        assert len(set(names)) == len(names)
        assert set(table.key) <= set(names)
        assert all(column.description for column in table.columns)


class TestRoundTrip:
    @ALL
    @pytest.mark.parametrize("rows", [0, 1, 7])
    def test_comes_back_as_it_was(self, table, rows, tmp_path):
        frame = random_frame(table, rows)
        table.write(frame, tmp_path / "deep" / "table.parquet", {})
        for back in (table.read(tmp_path / "deep" / "table.parquet"), pl.read_parquet(tmp_path / "deep/table.parquet")):
            assert back.schema == table.schema
            assert back.equals(frame)

    def test_some_columns_only(self, tmp_path):
        QUALITY.write(quality(), tmp_path / "q.parquet", {})
        for columns in (["candidate", "value"], ["value", "candidate"]):
            back = QUALITY.read(tmp_path / "q.parquet", columns=columns)
            assert back.equals(quality().select(columns))
        with pytest.raises(StudyError, match=r"q\.parquet is damaged .*delete it and rerun .*merit"):
            QUALITY.read(tmp_path / "q.parquet", columns=["candidate", "merit"])

    def test_a_folder_named_like_a_partition_adds_no_column(self, tmp_path):
        QUALITY.write(quality(), tmp_path / "model=a" / "q.parquet", {})
        assert QUALITY.read(tmp_path / "model=a" / "q.parquet").columns == quality().columns

    def test_piece_by_piece(self, tmp_path):
        frame = random_frame(METRICS, 20)
        with METRICS.writer(tmp_path / "m.parquet", {"seed": 3}) as writer:
            for start in (0, 7, 14):
                writer.append(frame[start : start + 7], row_group_size=4)
        assert METRICS.read(tmp_path / "m.parquet").equals(frame)
        assert pq.ParquetFile(tmp_path / "m.parquet").num_row_groups == 6
        assert read_provenance(tmp_path / "m.parquet")["seed"] == 3

    def test_a_bad_piece_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "q.parquet"
        QUALITY.write(quality(), path, {})

        def rewrite():
            with QUALITY.writer(path, {}) as writer:
                writer.append(quality(value=[7.0, 8.0, 9.0]))
                writer.append(quality().drop("items"))

        with pytest.raises(StudyError, match="items"):
            rewrite()
        assert QUALITY.read(path).equals(quality())
        assert list(tmp_path.iterdir()) == [path]

    def test_same_content_same_bytes(self, tmp_path):
        for name in "ab":
            QUALITY.write(quality(), tmp_path / name, {"seed": 1})
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class TestExplainsItself:
    @ALL
    def test_fields_carry_description_unit_and_nullability(self, table, tmp_path):
        table.write(random_frame(table, 2), tmp_path / "t.parquet", {})
        schema = pq.read_schema(tmp_path / "t.parquet")
        for column in table.columns:
            field = schema.field(column.name)
            assert field.metadata[b"description"].decode() == column.description
            assert field.metadata[b"unit"].decode() == column.unit
            assert field.nullable == column.nullable

    def test_provenance_comes_back(self, tmp_path):
        record = {"settings": {"names": ["mean", "größe"]}, "seed": 4, "inputs": {"a.parquet": "00ff"}}
        QUALITY.write(quality(), tmp_path / "q.parquet", record)
        found = read_provenance(tmp_path / "q.parquet")
        assert found == {**record, "table": "quality", "description": QUALITY.description, "key": list(QUALITY.key)}
        assert json.loads(pq.read_schema(tmp_path / "q.parquet").metadata[b"iclscope"]) == found

    def test_a_file_of_others_has_no_provenance(self, tmp_path):
        quality().write_parquet(tmp_path / "q.parquet")
        with pytest.raises(StudyError, match=r"q\.parquet was not written by iclscope"):
            read_provenance(tmp_path / "q.parquet")


class TestRefusesToWrite:
    @pytest.mark.parametrize(
        ("frame", "message"),
        [
            pytest.param(quality().drop("value"), "value: declared Float64, found None", id="column missing"),
            pytest.param(quality().with_columns(x=1), "x: declared None, found Int32", id="column too many"),
            pytest.param(quality().rename({"value": "Value"}), "value: .* Value: ", id="column renamed"),
            pytest.param(quality().cast({"value": pl.Float32}), "declared Float64, found Float32", id="other type"),
            pytest.param(quality().cast({"candidate": pl.String}), "candidate: declared Int32", id="text for number"),
            pytest.param(quality().select(reversed(quality().columns)), "column order", id="other order"),
            pytest.param(quality(value=[0.1, None, 0.3]), "column value has empty values", id="empty value"),
            pytest.param(quality(target=[None] * 3), "column target has empty values", id="empty key"),
            pytest.param(quality(candidate=[0, 1, 0]), "share the same target, candidate", id="key twice"),
        ],
    )
    def test_a_frame_unlike_its_declaration(self, frame, message, tmp_path):
        with pytest.raises(StudyError, match=f"table quality.*{message}"):
            QUALITY.write(frame, tmp_path / "q.parquet", {})
        assert list(tmp_path.iterdir()) == []

    @ALL
    def test_each_column_of_each_table(self, table):
        frame = random_frame(table, 3)
        table.check(frame)
        for column in table.columns:
            with pytest.raises(StudyError, match=f"{table.name}.*{column.name}"):
                table.check(frame.drop(column.name))
            empty = frame.with_columns(pl.lit(None, dtype=column.dtype).alias(column.name))
            if not column.nullable:
                with pytest.raises(StudyError, match=f"{table.name}.*{column.name}"):
                    table.check(empty)
        with pytest.raises(StudyError, match=f"{table.name}.*{', '.join(table.key)}"):
            table.check(pl.concat([frame, frame[1:2]]))

    def test_empty_parts_of_a_key_count_as_the_same(self):
        frame = random_frame(CORRELATION, 2).with_columns(mask=None, layer=None, metric=pl.lit("length"))
        frame = frame.with_columns(pl.col("target", "family", "site", "pooling").first()).cast(CORRELATION.schema)
        with pytest.raises(StudyError, match="share the same"):
            CORRELATION.check(frame)

    def test_nan_is_a_value_but_nothing_is_not(self):
        table = Table("t", "t", (Column("id", pl.Int8, "id"), Column("x", pl.Float64, "x")), ("id",))
        table.check(pl.DataFrame({"id": [1], "x": [np.nan]}, schema=table.schema))
        with pytest.raises(StudyError, match="column x has empty values"):
            table.check(pl.DataFrame({"id": [1], "x": [None]}, schema=table.schema))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A path and the bytes of a good file, for each of two tables: one plain, one with lists, in row groups."""
    files = {}
    for table in (METRICS, EMBEDDINGS):
        path = tmp_path_factory.mktemp("written") / f"{table.name}.parquet"
        table.write(random_frame(table, 9), path, {"settings": {"block": 3}}, row_group_size=4)
        files[table.name] = (path, path.read_bytes())
    return files


class TestRefusesToRead:
    @pytest.mark.parametrize("table", [METRICS, EMBEDDINGS], ids=lambda table: table.name)
    def test_any_one_changed_byte(self, table, written):
        path, content = written[table.name]
        masks = itertools.cycle([0x01, 0x80, 0xFF, 0x08, 0x20])
        for place, mask in zip(range(0, len(content), 23), masks, strict=False):
            path.write_bytes(content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :])
            with pytest.raises(StudyError, match=rf"{path.name} is damaged .*delete it and rerun"):
                table.read(path)
        path.write_bytes(content)
        table.read(path)

    @given(data=st.data())
    def test_any_number_of_changed_bytes(self, written, data):
        path, content = written["embeddings"]
        changed = bytearray(content)
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
            changed[place] = data.draw(st.integers(0, 255))
        path.write_bytes(changed)
        if bytes(changed) == content:
            EMBEDDINGS.read(path)
        else:
            with pytest.raises(StudyError, match=r"embeddings\.parquet"):
                EMBEDDINGS.read(path)

    @given(data=st.data())
    def test_a_file_cut_short(self, written, data):
        path, content = written["metrics"]
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        with pytest.raises(StudyError, match=r"metrics\.parquet is damaged .*delete it and rerun"):
            METRICS.read(path)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(StudyError, match=r"none\.parquet does not exist"):
            QUALITY.read(tmp_path / "none.parquet")

    def test_a_folder(self, tmp_path):
        with pytest.raises(StudyError, match="damaged"):
            QUALITY.read(tmp_path)

    def test_a_table_of_another_kind(self, tmp_path):
        METRICS.write(random_frame(METRICS, 2), tmp_path / "t.parquet", {})
        with pytest.raises(StudyError, match=r"t\.parquet holds table 'metrics', not 'quality'; delete it and rerun"):
            QUALITY.read(tmp_path / "t.parquet")

    @pytest.mark.parametrize("content", [b"", b"PAR1", b"candidate,value\n1,2\n"], ids=["empty", "magic", "csv"])
    def test_something_else(self, tmp_path, content):
        (tmp_path / "t.parquet").write_bytes(content)
        with pytest.raises(StudyError, match=r"t\.parquet is damaged or not a table of this study"):
            QUALITY.read(tmp_path / "t.parquet")

    def test_parquet_of_others(self, tmp_path):
        quality().write_parquet(tmp_path / "t.parquet")
        with pytest.raises(StudyError, match=r"t\.parquet is damaged or not a table of this study"):
            QUALITY.read(tmp_path / "t.parquet")
