"""Budgets for an app that retrieves and answers: embeddings, streams, tools and structured output, from one engine.

pytest examples/rag_app --llm-engine=simulated
pytest examples/rag_app --llm-engine=llamacpp
"""

from __future__ import annotations

import pytest

QUESTIONS = {
    "Who pays for the parcel when a customer returns an article?": "Returns",
    "How many days does the delivery to an island take?": "Delivery",
    "When is an invoice due?": "Payment",
    "Do lamps have a warranty of two years?": "Warranty",
    "May visitors collect their orders at the warehouse?": "Opening hours",
}


# The bundled model of llama.cpp is made for chats: its embeddings find two pages of five, too few to tell.
@pytest.mark.quality_budget(recall="0.3")
@pytest.mark.latency_budget(embed_max="10 s")
@pytest.mark.throughput_budget(inputs="0.1 inputs/s")
def test_questions_find_their_pages(assistant, llm_perf):
    found = [assistant.retrieve(question)[0].startswith(page) for question, page in QUESTIONS.items()]
    llm_perf.quality("recall", sum(found) / len(found), samples=len(found))


@pytest.mark.latency_budget(ttft_max="20 s", e2e_max="30 s")
@pytest.mark.throughput_budget(output="1 tok/s")
def test_an_answer_streams(assistant):
    assert "".join(assistant.answer("How many days does the delivery to an island take?"))


@pytest.mark.latency_budget(e2e_max="30 s")
def test_the_model_may_ask_for_an_order(assistant, orders, llm_engine):
    answer = assistant.look_up("Where is my order 17?")
    assert answer
    if llm_engine.name == "simulated":
        assert (orders, answer) == ([17], "Your parcel left the shop on Monday and comes tomorrow.")


@pytest.mark.latency_budget(e2e_max="60 s")
def test_a_message_becomes_a_ticket(assistant):
    ticket = assistant.file("The lamp that I bought a year ago is broken. What now?")
    assert ticket.topic in ("returns", "delivery", "payment", "warranty", "other")
    assert isinstance(ticket.is_urgent, bool)


@pytest.mark.llm_engines("simulated")
def test_the_app_asks_again_where_the_server_is_busy(assistant, llm_perf):
    assert "".join(assistant.answer("When is an invoice due?"))
    answers = [request.status for request in llm_perf.measurement.requests if request.work == "text"]
    assert answers[-2:] == [429, 200]
