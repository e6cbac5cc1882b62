"""What a model reads of a thread."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.conversations import WRITING, Turn, as_answer, branch, conversation, length, spoken, trim

ANA, LUIS, BOT = 1, 2, 99


def person(id: int, text: str, *, author: int = ANA, reply_to: int | None = None, files: tuple = ()) -> Turn:
    name = {ANA: "Ana", LUIS: "Luis"}[author]
    return Turn(id=id, author_id=author, author=name, ours=False, text=text, reply_to=reply_to, files=files)


def answer(id: int, text: str, reply_to: int | None = None) -> Turn:
    return Turn(id=id, author_id=BOT, author="Afina", ours=True, text=text, reply_to=reply_to)


def said(turns: list[Turn]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in conversation(turns)]


def test_turns_alternate_and_the_bots_notes_are_left_out() -> None:
    turns = [
        answer(1, "-# Hablas con poeta."),
        person(2, "hola"),
        answer(3, "¡Buenas!\n-# Se cortó aquí."),
        person(4, "otra"),
    ]
    assert said(turns) == [("user", "hola"), ("assistant", "¡Buenas!"), ("user", "otra")]


def test_messages_in_a_row_are_one_and_long_answers_are_whole_again() -> None:
    turns = [person(1, "uno"), person(2, "dos"), answer(3, "parte 1"), answer(4, "parte 2")]
    assert said(turns) == [("user", "uno\ndos"), ("assistant", "parte 1\nparte 2")]


def test_several_people_are_told_apart_and_one_alone_is_not_named() -> None:
    assert said([person(1, "hola"), answer(2, "sí"), person(3, "yo también", author=LUIS)]) == [
        ("user", "Ana: hola"),
        ("assistant", "sí"),
        ("user", "Luis: yo también"),
    ]
    assert said([person(1, "hola")]) == [("user", "hola")]


def test_text_files_are_read_after_the_message() -> None:
    assert said([person(1, "resume", files=(("a.txt", "contenido\n"),))]) == [("user", "resume\n\n[a.txt]\ncontenido")]


def test_instructions_come_first() -> None:
    assert conversation([person(1, "hola")], instructions="Sé breve.")[0] == {"role": "system", "content": "Sé breve."}


def test_a_reply_to_an_older_message_starts_a_branch() -> None:
    turns = [
        person(1, "a"),
        answer(2, "A"),
        person(3, "b"),
        answer(4, "B"),
        person(5, "otra vez desde A", reply_to=2),
        answer(6, "C", reply_to=5),
        person(7, "sigo"),
    ]
    assert [turn.id for turn in branch(turns, 7)] == [1, 2, 5, 6, 7]
    assert [turn.id for turn in branch(turns, 4)] == [1, 2, 3, 4]


def test_a_reply_to_a_deleted_message_continues_from_the_one_before() -> None:
    turns = [person(1, "a"), answer(2, "A"), person(5, "b", reply_to=4)]
    assert [turn.id for turn in branch(turns, 5)] == [1, 2, 5]


def test_an_answer_cannot_pass_for_a_note_and_is_read_as_it_was_written() -> None:
    text = "lista:\n-# algo\n- otra"
    assert "\n-# " not in as_answer(text)
    assert spoken(as_answer(text)) == text
    assert spoken("a medias" + WRITING) == "a medias"


def test_trimming_keeps_the_instructions_and_the_newest_and_starts_with_a_person() -> None:
    turns = [person(1, "a" * 50), answer(2, "b" * 50), person(3, "c" * 50), answer(4, "d" * 50), person(5, "e" * 50)]
    messages = conversation(turns, instructions="s" * 10)
    prompt = trim(messages, 170)
    assert [message["content"][0] for message in prompt.messages] == ["s", "c", "d", "e"]
    assert prompt.dropped == 2
    tight = trim(messages, 115)
    assert [message["content"][0] for message in tight.messages] == ["s", "e"]
    assert trim(messages, 10_000).dropped == 0


@given(st.lists(st.tuples(st.booleans(), st.text(min_size=1, max_size=40)), min_size=1), st.integers(0, 400))
def test_trimming_fits_whenever_the_last_message_alone_fits(turns: list[tuple[bool, str]], room: int) -> None:
    messages = [{"role": "assistant" if ours else "user", "content": text} for ours, text in turns]
    prompt = trim(messages, room)
    assert prompt.messages[-1] == messages[-1]
    assert length(prompt.messages) <= room or len(prompt.messages) == 1
    assert len(prompt.messages) + prompt.dropped == len(messages)
