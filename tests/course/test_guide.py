"""The guide gives the cheapest step that makes sense, and says why."""

import pytest

from bot.course.guide import Budget, Case, Data, Tried, Way, advise

BOTH = frozenset({Tried.PROMPT, Tried.FEW_SHOT})


@pytest.mark.parametrize(
    ("text", "data", "tried", "way"),
    [
        ("Que escriba como yo", Data.NONE, frozenset({Tried.NOTHING}), Way.PROMPT),
        ("Que escriba como yo", Data.FEW, frozenset({Tried.PROMPT}), Way.FEW_SHOT),
        ("Que escriba como yo", Data.FEW, BOTH, Way.COLLECT),
        ("Que clasifique reseñas", Data.MANY, frozenset({Tried.NOTHING}), Way.PROMPT),
        ("Que clasifique reseñas", Data.SOME, frozenset({Tried.PROMPT}), Way.TUNE),
        ("Que clasifique reseñas", Data.MANY, BOTH, Way.TUNE),
        ("Que responda sobre los manuales de la empresa", Data.DOCUMENTS, frozenset({Tried.PROMPT}), Way.RAG),
        ("Que dé los horarios, que cambian cada día", Data.MANY, BOTH, Way.RAG),
        ("Que resuma contratos con nuestro formato", Data.MANY, BOTH, Way.BOTH),
    ],
)
def test_the_recommendation_follows_from_what_there_is(
    text: str, data: Data, tried: frozenset[Tried], way: Way
) -> None:
    advice = advise(Case(text=text, data=data, tried=tried, budget=Budget.SMALL))
    assert advice.way is way
    assert len(advice.reasons) >= 2
    assert advice.questions
    assert advice.command.startswith("`/")


def test_many_questions_a_day_speak_for_shorter_prompts() -> None:
    case = Case(text="Que clasifique reseñas", data=Data.MANY, tried=BOTH, budget=Budget.VOLUME)
    assert any("consultas" in reason for reason in advise(case).reasons)
