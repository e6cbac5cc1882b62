"""Whatever runs beside it, a request gets the tokens that `generate` gives its adapter alone."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import PeftModel

from jobs.gpu.engine.adapters import Adapter, Place, read_adapter
from jobs.gpu.engine.batch import Batch, Delivery, Request
from jobs.gpu.engine.lora import stacked_rank
from jobs.gpu.engine.sampling import Sampling
from tests.gpu.engine.conftest import ARCHITECTURES, make_model, save_adapter

# PEFT asks transformers for an attribute that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
EOS = 2


class Reference:
    """`generate` of transformers and PEFT, one request at a time."""

    def __init__(self, architecture: str, folders: dict[str, Path]) -> None:
        self._architecture = architecture
        self._folders = folders
        self._known: dict[tuple, tuple[list[int], float]] = {}
        self._models: dict[str | None, torch.nn.Module] = {}

    def tokens(self, adapter: str | None, prompt: list[int], count: int) -> tuple[list[int], float]:
        """The greedy answer, and the smallest distance between the two best logits on its way."""
        key = (adapter, tuple(prompt), count)
        if key not in self._known:
            model = self._model(adapter)
            out = model.generate(
                input_ids=torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                max_new_tokens=count,
                do_sample=False,
                output_scores=True,
                return_dict_in_generate=True,
            )
            gaps = [float(best[0, 0] - best[0, 1]) for best in (s.topk(2).values for s in out.scores)]
            self._known[key] = (out.sequences[0, len(prompt) :].tolist(), min(gaps))
        return self._known[key]

    def _model(self, adapter: str | None) -> torch.nn.Module:
        if adapter not in self._models:
            model = make_model(self._architecture)
            self._models[adapter] = PeftModel.from_pretrained(model, self._folders[adapter]) if adapter else model
        return self._models[adapter]


class World:
    """One architecture with some adapters, in the engine and in the reference."""

    def __init__(self, architecture: str, root: Path, adapters: dict[str, dict]) -> None:
        folders = {
            name: save_adapter(make_model(architecture), root / name, seed=seed, **config)
            for seed, (name, config) in enumerate(adapters.items())
        }
        self.reference = Reference(architecture, folders)
        self.batch = Batch(make_model(architecture), max_rows=8, prefill_chunk=CHUNK)
        place = Place(sites=self.batch.sites, max_rank=64, device=torch.device("cpu"), dtype=torch.float32)
        self.adapters: dict[str | None, Adapter | None] = {
            name: read_adapter(name, folder, place) for name, folder in folders.items()
        }
        self.adapters[None] = None

    def request(self, adapter: str | None, prompt: list[int], count: int, **sampling: object) -> Answer:
        answer = Answer()
        answer.request = Request(
            prompt=prompt,
            adapter=self.adapters[adapter],
            sampling=Sampling(max_tokens=count, **{"temperature": 0.0, **sampling}),
            stop_tokens=frozenset({EOS}),
            deliver=answer.take,
        )
        return answer

    def run(self) -> None:
        while not self.batch.idle:
            self.batch.read_on()
            self.batch.step()
            ranks = [stacked_rank(request.adapter) for request in self.batch.rows]
            assert ranks == sorted(ranks, reverse=True)

    def join_when_there_is_room(self, answer: Answer) -> None:
        """A long prompt waits until the one before is read, as `admit` says."""
        while not self.batch.admit([answer.request], 10_000):
            self.batch.read_on()
            self.batch.step()
        self.batch.join([answer.request])


class Answer:
    request: Request

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.finish: str | None = None

    def take(self, delivery: Delivery) -> None:
        assert self.finish is None, "something came after the end"
        if delivery.token is not None:
            self.tokens.append(delivery.token)
        self.finish = delivery.finish


ADAPTERS = {
    "r4": {"rank": 4},
    "r8": {"rank": 8},
    "rslora": {"rank": 6, "use_rslora": True},
    "attention": {"rank": 3, "target_modules": "all-linear", "lora_alpha": 7},
    "dora": {"rank": 4, "use_dora": True},
    "wide dora": {"rank": 9, "use_dora": True, "use_rslora": True},
}
CHUNK = 16  # tokens; longer prompts are read in parts


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(request.param, tmp_path_factory.mktemp(request.param), ADAPTERS)


wish = st.tuples(
    st.sampled_from([None, *ADAPTERS]),  # adapter
    st.integers(1, 60),  # tokens of the prompt
    st.integers(1, 14),  # tokens of the answer
    st.integers(0, 3),  # steps of the others before it joins
)


def expect(world: World, adapter: str | None, answer: Answer, prompt: list[int], count: int) -> None:
    expected, gap = world.reference.tokens(adapter, prompt, count)
    if gap <= 1e-4:
        return
    got = answer.tokens + ([EOS] if answer.finish == "stop" else [])
    assert got == expected
    assert answer.finish == ("stop" if expected[-1] == EOS else "length")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wishes=st.lists(wish, min_size=1, max_size=8), seed=st.integers(0, 5))
def test_any_mix_of_adapters_lengths_and_joining_times_gives_the_tokens_of_each_alone(
    world: World, wishes: list[tuple[str | None, int, int, int]], seed: int
) -> None:
    dice = random.Random(seed)
    running: list[tuple[str | None, Answer, list[int], int]] = []
    for adapter, length, count, wait in wishes:
        for _ in range(wait):
            world.batch.read_on()
            world.batch.step()
        prompt = [dice.randrange(3, 320) for _ in range(length)]
        answer = world.request(adapter, prompt, count)
        world.join_when_there_is_room(answer)
        running.append((adapter, answer, prompt, count))
    world.run()
    for entry in running:
        expect(world, entry[0], entry[1], entry[2], entry[3])


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wishes=st.lists(wish, min_size=2, max_size=8), seed=st.integers(0, 5))
def test_prompts_of_different_lengths_read_in_one_pass_do_not_touch_each_other(
    world: World, wishes: list[tuple[str | None, int, int, int]], seed: int
) -> None:
    dice = random.Random(seed)
    prompts = [[dice.randrange(3, 320) for _ in range(length)] for _, length, _, _ in wishes]
    answers = [world.request(w[0], p, w[2]) for w, p in zip(wishes, prompts, strict=True)]
    world.batch.join([answer.request for answer in answers])
    world.run()
    for (adapter, _, count, _), prompt, answer in zip(wishes, prompts, answers, strict=True):
        expect(world, adapter, answer, prompt, count)


def test_the_next_turns_of_several_conversations_share_a_pass_with_new_ones(world: World) -> None:
    """Each has its own known beginning, or none, and its own new part."""
    beginnings = {name: [(seed * i) % 300 + 3 for i in range(50 + 2 * seed)] for seed, name in enumerate(ADAPTERS, 13)}
    firsts = {name: world.request(name, prompt, 5) for name, prompt in beginnings.items()}
    for answer in firsts.values():
        world.join_when_there_is_room(answer)
    world.run()
    prompts = {
        name: [*prompt, *firsts[name].tokens, *range(7, 7 + n)]
        for n, (name, prompt) in enumerate(beginnings.items(), 6)
    }
    prompts[None] = list(range(20, 29))
    answers = {name: world.request(name, prompt, 8) for name, prompt in prompts.items()}
    requests = [answer.request for answer in answers.values()]
    assert world.batch.admit(requests, 100_000) == requests
    world.batch.join(requests)
    world.run()
    for name, answer in answers.items():
        assert (answer.request.cached >= 50) is (name is not None)
        expect(world, name, answer, prompts[name], 8)


def test_a_long_prompt_is_read_between_the_steps_of_the_others(world: World) -> None:
    running = world.request("dora", list(range(5, 15)), 14, ignore_eos=True)
    world.batch.join([running.request])
    long = [(11 * i) % 300 + 3 for i in range(5 * CHUNK - 3)]
    late = world.request("r8", long, 6)
    assert world.batch.join([late.request]) == CHUNK
    for chunks in range(2, 6):
        assert late.tokens == []
        before = len(running.tokens)
        world.batch.step()
        assert len(running.tokens) == before + 1
        another = world.request("r4", long, 3)
        assert world.batch.admit([another.request], 10_000) == []  # one long prompt at a time
        assert world.batch.read_on() == (CHUNK if chunks < 5 else CHUNK - 3)
    world.run()
    expect(world, "r8", late, long, 6)
    gone = world.request("r8", [5, *long], 6)
    world.batch.join([gone.request])
    gone.request.cancelled = True
    world.run()
    assert (gone.tokens, gone.finish) == ([], "abort")


def test_a_short_prompt_overtakes_a_long_one_that_has_to_wait(world: World) -> None:
    long = [world.request(None, [n, *range(3, 3 + 3 * CHUNK)], 2) for n in (3, 4)]
    short = world.request("dora", [9, 8, 7], 4)
    waiting = [long[0].request, long[1].request, short.request]
    assert world.batch.admit(waiting, 10_000) == [long[0].request]
    world.batch.join([long[0].request])
    assert world.batch.admit(waiting[1:], 10_000) == [short.request]
    world.batch.join([short.request])
    world.run()
    expect(world, "dora", short, [9, 8, 7], 4)
    expect(world, None, long[0], long[0].request.prompt, 2)


def test_adapters_change_the_answer(world: World) -> None:
    prompt = list(range(5, 25))
    answers = {tuple(world.reference.tokens(name, prompt, 14)[0]) for name in (None, *ADAPTERS)}
    assert len(answers) >= 4


def test_the_next_turn_of_a_conversation_reads_only_what_is_new(world: World) -> None:
    prompt = [(7 * i) % 300 + 3 for i in range(60)]
    first = world.request("r8", prompt, 10)
    world.join_when_there_is_room(first)
    world.run()
    longer = prompt + first.tokens + [9, 10, 11, 12]
    for adapter, cached in (("r8", True), ("r4", False), ("dora", False), (None, False)):
        second = world.request(adapter, longer, 10)
        world.join_when_there_is_room(second)
        world.run()
        assert (second.request.cached >= 60) is cached
        expect(world, adapter, second, longer, 10)


def test_a_cancelled_request_leaves_at_the_next_token_and_the_others_go_on(world: World) -> None:
    prompts = [[(i * j) % 300 + 3 for j in range(1, 9)] for i in (3, 5, 7)]
    answers = [world.request(None, prompt, 12) for prompt in prompts]
    world.batch.join([answer.request for answer in answers])
    answers[0].request.cancelled = True
    world.run()
    assert answers[0].finish in ("abort", "stop")
    for prompt, answer in zip(prompts[1:], answers[1:], strict=True):
        expect(world, None, answer, prompt, 12)


def test_a_seed_gives_the_same_answer_alone_and_in_company(world: World) -> None:
    prompt = list(range(10, 30))
    hot = {"temperature": 0.9, "top_p": 0.95, "seed": 7}
    alone = world.request("r4", prompt, 10, **hot)
    world.batch.join([alone.request])
    world.run()
    again = world.request("r4", prompt, 10, **hot)
    others = [world.request(None, prompt[:5], 10, temperature=1.2, seed=i) for i in range(3)]
    world.batch.join([o.request for o in others])
    world.batch.join([again.request])
    world.run()
    assert again.tokens == alone.tokens
    other_seed = [world.request("r4", prompt, 10, **{**hot, "seed": seed}) for seed in range(5)]
    world.batch.join([o.request for o in other_seed])
    world.run()
    assert len({tuple(o.tokens) for o in other_seed}) > 1
