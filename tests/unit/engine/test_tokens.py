"""Text to tokens, and where in them a demonstration's question and answer lie."""

import pytest
from hypothesis import given, strategies as st

from iclscope.engine import contexts as contexts_module
from iclscope.engine.contexts import ContextEncoder, encode
from iclscope.engine.prompts import PromptEncoder, encode_demonstration, split_trailing_space
from tiny import build_tokenizer


@pytest.fixture(params=[False, True], ids=["plain", "bos"])
def tokenizer(request, tiny_tokenizer, bos_tokenizer):
    return bos_tokenizer if request.param else tiny_tokenizer


@pytest.fixture(scope="module")
def joining_tokenizer():
    return build_tokenizer(joining=True)


def demonstration(description, question, delimiter, answer, after="\n\n"):
    """A row of the sample table as `rendering` makes it."""
    start = len(description)
    answer_start = start + len(question) + len(delimiter)
    return {
        "prefix": description + question + delimiter + answer + after,
        "question": question,
        "question_start": start,
        "question_end": start + len(question),
        "answer_start": answer_start,
        "answer_end": answer_start + len(answer),
    }


def text_of(tokenizer, tokens, span):
    return tokenizer.decode(tokens.ids[slice(*span)], skip_special_tokens=True)


class TestEncode:
    def test_every_text_for_itself(self, tokenizer):
        texts = ["Is the sky blue?", "", "Answer: yes\n\n", " is a whale a fish? 🐳"]
        assert encode(tokenizer, texts) == [tokenizer(text)["input_ids"] for text in texts]

    def test_nothing(self, tokenizer):
        assert encode(tokenizer, []) == []

    def test_bos_is_put_before_texts_where_the_tokenizer_does_so(self, tiny_tokenizer, bos_tokenizer):
        for plain, with_bos in zip(
            *(encode(t, ["a whale", "12"]) for t in (tiny_tokenizer, bos_tokenizer)), strict=True
        ):
            assert with_bos == [0, *plain]

    def test_a_text_with_its_own_bos_gets_no_second_one(self, tiny_tokenizer, bos_tokenizer):
        texts = ["<s>a whale", "a whale", "a <s>"]
        bare = tiny_tokenizer("a whale")["input_ids"]
        assert encode(bos_tokenizer, texts)[:2] == [[0, *bare], [0, *bare]]
        assert encode(bos_tokenizer, texts)[2].count(0) == 2
        assert encode(tiny_tokenizer, texts)[0] == [0, *bare]


PIECES = st.text(alphabet="abW1 \n.?'é🐳", min_size=1, max_size=6)


class TestContexts:
    @given(prefixes=st.lists(PIECES, min_size=4, max_size=7), ending=st.sampled_from(["\n\n", "\n", " ", ""]),
           questions=st.lists(PIECES, min_size=1, max_size=5))  # fmt: skip
    def test_tokens_are_those_of_both_together(self, request, prefixes, ending, questions):
        for name in ("tiny_tokenizer", "bos_tokenizer", "joining_tokenizer"):
            tokenizer = request.getfixturevalue(name)
            contexts = ContextEncoder(tokenizer)
            for prefix in prefixes:
                texts = [prefix + ending + question for question in questions]
                assert contexts.encode(prefix + ending, questions) == encode(tokenizer, texts)

    def test_questions_are_read_behind_two_prefixes_and_then_one_of_a_kind(self, tiny_tokenizer, monkeypatch):
        asked = []
        whole = ContextEncoder._whole
        monkeypatch.setattr(ContextEncoder, "_whole", lambda *words: asked.append(len(words[1])) or whole(*words))
        contexts = ContextEncoder(tiny_tokenizer)
        questions = [f"Question {n}: is it a whale?" for n in range(9)] + ["12 apples"]
        for number in range(4):
            contexts.encode(f"Question: is {number} a number?\nAnswer: yes\n\n", questions)
        assert asked == [10, 10, 2, 2]

    def test_a_tokenizer_that_looks_further_back_is_found_out(self, tiny_tokenizer, monkeypatch, caplog):
        contexts, questions = ContextEncoder(tiny_tokenizer), ["Is it a whale?", "Is it a trout?"]
        for prefix in ("No.\n\n", "Yes.\n\n"):
            contexts.encode(prefix, questions)
        text = "Three.\n\n"
        shorter = [tokens[:-1] for tokens in encode(tiny_tokenizer, [text + question for question in questions])]
        whole = contexts._whole
        monkeypatch.setattr(contexts, "_whole", lambda *words: [(ids[:-1], place) for ids, place in whole(*words)])
        monkeypatch.setattr(contexts_module, "encode", lambda *_: shorter)
        assert contexts.encode(text, questions) == shorter
        assert "depend on what precedes them: all prompts are tokenised whole" in caplog.text


@given(st.text(alphabet="ab \n\t\u00a0?", max_size=12))
def test_white_space_is_split_off_the_end_only(text):
    left, right = split_trailing_space(text)
    assert left + right == text
    assert left == left.rstrip()
    assert right.strip() == ""


DEMONSTRATIONS = {
    "plain": ("", "Is the sky blue?\nAnswer:", " ", "yes"),
    "description": ("Answer each question.\n\n", "Question: is a whale a fish?\nAnswer:", " ", "no"),
    "several sentences": ("", "Anna has three apples.\nQuestion: How many?", "\n", "She has 3.\nThe answer is 3"),
    "no delimiter": ("", "Question: 3 + 12 =", "", "15"),
    "letters run together": ("", "A pass", "", "age about whales"),
    "emoji": ("", "Is 🐳 a fish? 🤔", " ", "no 🙅‍♀️"),
    "accents": ("Antworte.\n", "Wie groß ist er? Größe:", " ", "fünf Fuß"),
    "one character each": ("", "a", "", "b"),
}


class TestDemonstration:
    @pytest.mark.parametrize("parts", DEMONSTRATIONS.values(), ids=DEMONSTRATIONS)
    def test_spans_hold_question_and_answer(self, tokenizer, parts):
        description, question, delimiter, answer = parts
        tokens = encode_demonstration(tokenizer, demonstration(*parts))
        assert tokens.ids == encode(tokenizer, ["".join(parts)])[0]
        assert answer in text_of(tokenizer, tokens, tokens.answer)
        assert question in text_of(tokenizer, tokens, (tokens.question[0], tokens.answer[1]))
        if delimiter:
            assert question in text_of(tokenizer, tokens, tokens.question)
            assert answer not in text_of(tokenizer, tokens, tokens.question)
        assert description in text_of(tokenizer, tokens, (0, tokens.question[1]))
        assert 0 <= tokens.question[0] < tokens.question[1] <= tokens.answer[0] < tokens.answer[1] == len(tokens.ids)

    def test_the_question_starts_after_bos_and_description(self, tiny_tokenizer, bos_tokenizer):
        row = demonstration("They breathe air.\n", "Question: fish?\nAnswer:", " ", "no")
        plain, with_bos = (encode_demonstration(t, row) for t in (tiny_tokenizer, bos_tokenizer))
        assert plain.question[0] == len(tiny_tokenizer("They breathe air.\n")["input_ids"])
        assert with_bos.question == tuple(place + 1 for place in plain.question)
        assert with_bos.answer == tuple(place + 1 for place in plain.answer)
        assert with_bos.ids == [0, *plain.ids]

    def test_bos_in_the_description_is_not_doubled(self, bos_tokenizer):
        parts = ("a", " ", "b")
        own = encode_demonstration(bos_tokenizer, demonstration("<s>", *parts))
        assert own == encode_demonstration(bos_tokenizer, demonstration("", *parts))

    def test_a_delimiter_of_its_own_token_belongs_to_neither(self, tokenizer):
        tokens = encode_demonstration(tokenizer, demonstration("So:", "is a fish?", "\n", "no"))
        assert text_of(tokenizer, tokens, tokens.question) == "is a fish?"
        assert text_of(tokenizer, tokens, tokens.answer) == "no"
        assert tokens.question[1] + 1 == tokens.answer[0]

    def test_a_token_of_both_counts_as_answer(self, tiny_tokenizer):
        assert len(tiny_tokenizer(" apples")["input_ids"]) == 1  # learned from the training text
        tokens = encode_demonstration(tiny_tokenizer, demonstration("", "Anna has app", "", "les"))
        assert text_of(tiny_tokenizer, tokens, tokens.answer) == " apples"
        assert text_of(tiny_tokenizer, tokens, tokens.question) == "Anna has"
        assert tokens.question[1] == tokens.answer[0]

    def test_a_question_within_the_answers_token_is_empty(self, tiny_tokenizer):
        tokens = encode_demonstration(tiny_tokenizer, demonstration("Anna has", " app", "", "les"))
        assert text_of(tiny_tokenizer, tokens, tokens.answer) == " apples"
        assert tokens.question == (tokens.answer[0], tokens.answer[0])

    def test_the_delimiter_before_the_next_item_is_left_out(self, tiny_tokenizer):
        parts = ("", "Question: fish?\nAnswer:", " ", "no")
        first, second = (demonstration(*parts, after=after) for after in ("\n\n", "\n\n###\n"))
        assert encode_demonstration(tiny_tokenizer, first) == encode_demonstration(tiny_tokenizer, second)

    @pytest.mark.parametrize("answer", ["yes", "It is a mammal.", "#### 12", "no?!"])
    def test_tokens_are_those_of_the_scoring_prefix(self, tokenizer, joining_tokenizer, answer):
        """Also where the tokenizer joins the end of the answer and the line breaks behind it."""
        items = [{"question": f"Question: {what}?\nAnswer:", "target_delimiter": " ", "choices": ["yes", "no"]}
                 for what in ("fish", "is the sky blue", "12")]  # fmt: skip
        row = demonstration("So:\n", "Question: is a whale a fish?\nAnswer:", " ", answer)
        for one in (tokenizer, joining_tokenizer):
            tokens = encode_demonstration(one, row)
            for prompt in PromptEncoder(one).encode(row["prefix"], items):
                assert prompt.context[: len(tokens.ids)] == tokens.ids
            assert one.decode(tokens.ids, skip_special_tokens=True).rstrip("\n") == row["prefix"].rstrip("\n")
        joined = joining_tokenizer.decode(tokens.ids[-1:]).endswith(".\n\n")
        assert joined == answer.endswith(".")  # or the case would not be tried

    @given(
        description=st.text(max_size=8),
        question=st.text(min_size=1, max_size=20),
        delimiter=st.text(alphabet=" \n:", max_size=2),
        answer=st.text(min_size=1, max_size=8),
    )
    def test_any_text_keeps_its_question_and_answer(self, tiny_tokenizer, description, question, delimiter, answer):
        tokens = encode_demonstration(tiny_tokenizer, demonstration(description, question, delimiter, answer))
        text = tiny_tokenizer.decode(tokens.ids)
        assert text.startswith(description + question + delimiter + answer)
        assert not text.removeprefix(description + question + delimiter + answer).strip("\n")  # of a joined token
        assert answer in text_of(tiny_tokenizer, tokens, tokens.answer)
        assert question in text_of(tiny_tokenizer, tokens, (tokens.question[0], tokens.answer[1]))
        assert tokens.question[1] <= tokens.answer[0]
        assert tokens.answer[1] == len(tokens.ids)
